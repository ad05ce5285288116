#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/model/checkpoint/name_pattern.h"

#include <pcre2.h>

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/shown_text.h"

namespace thinkwire::worker::model {
namespace {

// Steps of backtracking over one name; bounds what a hostile expression costs.
constexpr std::uint32_t kMatchLimit = 100'000;
constexpr std::uint32_t kMatchMemoryKib = 1 << 10;

struct MatchContext {
  MatchContext() : context(pcre2_match_context_create(nullptr)) {
    CHECK(context != nullptr, "out of memory");
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kMatchMemoryKib);
  }
  ~MatchContext() { pcre2_match_context_free(context); }
  MatchContext(const MatchContext&) = delete;
  MatchContext& operator=(const MatchContext&) = delete;

  pcre2_match_context* context;
};

struct MatchData {
  MatchData() : data(pcre2_match_data_create(1, nullptr)) {
    CHECK(data != nullptr, "out of memory");
  }
  ~MatchData() { pcre2_match_data_free(data); }
  MatchData(const MatchData&) = delete;
  MatchData& operator=(const MatchData&) = delete;

  pcre2_match_data* data;
};

std::string ErrorText(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

absl::StatusOr<NamePattern> NamePattern::Regex(const std::string& expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                    PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("pattern \"", ShownText(expression),
                                                   "\" does not compile: ", ErrorText(error)));
  }
  NamePattern pattern(Kind::kRegex, expression);
  pattern.code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* done) { pcre2_code_free(const_cast<pcre2_code*>(done)); });
  return pattern;
}

absl::StatusOr<bool> NamePattern::Matches(absl::string_view name) const {
  switch (kind_) {
    case Kind::kAny:
      return true;
    case Kind::kExactly:
      return name == text_;
    case Kind::kContaining:
      return absl::StrContains(name, text_);
    case Kind::kRegex:
      return MatchesRegex(name);
  }
  CHECK(false, "a pattern of no kind");
}

absl::StatusOr<bool> NamePattern::MatchesRegex(absl::string_view name) const {
  const MatchContext limits;
  const MatchData match;
  const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(),
                                0, 0, match.data, limits.context);
  if (found >= 0) return true;
  if (found == PCRE2_ERROR_NOMATCH) return false;
  return absl::InvalidArgumentError(
      absl::StrCat("pattern \"", ShownText(text_), "\" fails on a name: ", ErrorText(found)));
}

}  // namespace thinkwire::worker::model
