#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/text/regex_splitter.h"

#include <pcre2.h>

#include <array>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/utf8.h"
#include "worker/text/split_pattern.h"

namespace thinkwire::worker::text {
namespace {

// Steps of backtracking at one place of the text; bounds the time a hostile pattern can take.
constexpr std::uint32_t kMatchLimit = 100'000'000;
// Memory for that where no code was compiled for the machine.
constexpr std::uint32_t kMatchMemoryKib = 64 << 10;

std::string ErrorText(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

void RegexSplitter::CodeDeleter::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

void RegexSplitter::ContextDeleter::operator()(pcre2_real_match_context_8* context) const {
  pcre2_match_context_free(context);
}

absl::StatusOr<RegexSplitter> RegexSplitter::Create(const std::vector<std::string>& patterns) {
  RegexSplitter splitter;
  splitter.context_.reset(pcre2_match_context_create(nullptr));
  CHECK(splitter.context_ != nullptr, "out of memory");
  pcre2_set_match_limit(splitter.context_.get(), kMatchLimit);
  pcre2_set_heap_limit(splitter.context_.get(), kMatchMemoryKib);
  for (const std::string& pattern : patterns) {
    absl::StatusOr<std::string> translated = TranslateSplitPattern(pattern);
    if (!translated.ok()) {
      return Annotate(translated.status(), absl::StrCat("pattern \"", ShownText(pattern), "\""));
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                            nullptr));
    if (code == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("pattern \"", ShownText(pattern),
                                                     "\" does not compile: ", ErrorText(error)));
    }
    // Without JIT (a platform that has none) the same code is interpreted.
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
    splitter.codes_.push_back(std::move(code));
  }
  return splitter;
}

void RegexSplitter::Split(std::string_view utf8,
                          absl::FunctionRef<void(std::string_view)> sink) const {
  if (utf8.empty()) return;
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  CHECK(match != nullptr, "out of memory");
  SplitFrom(0, utf8, match, sink);
  pcre2_match_data_free(match);
}

void RegexSplitter::SplitFrom(std::size_t pattern, std::string_view utf8,
                              pcre2_real_match_data_8* match,
                              absl::FunctionRef<void(std::string_view)> sink) const {
  if (pattern == codes_.size()) return sink(utf8);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(utf8.data());
  std::size_t piece_begin = 0;  // what is before it has been handed on
  std::size_t search_from = 0;
  while (search_from < utf8.size()) {
    const int rc = pcre2_match(codes_[pattern].get(), subject, utf8.size(), search_from,
                               PCRE2_NO_UTF_CHECK, match, context_.get());
    if (rc < 0) break;
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(match);
    const std::size_t begin = offsets[0];
    const std::size_t end = offsets[1];
    if (begin == end) {
      if (begin == utf8.size()) break;
      search_from = begin + DecodeUtf8(utf8.substr(begin)).length;
      continue;
    }
    if (piece_begin < begin) {
      SplitFrom(pattern + 1, utf8.substr(piece_begin, begin - piece_begin), match, sink);
    }
    SplitFrom(pattern + 1, utf8.substr(begin, end - begin), match, sink);
    piece_begin = search_from = end;
  }
  if (piece_begin < utf8.size()) SplitFrom(pattern + 1, utf8.substr(piece_begin), match, sink);
}

}  // namespace thinkwire::worker::text
