#include "router/http/reply_form.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire::router::http {

ReasoningForm ReasoningFormByName(const std::string& name) {
  constexpr std::pair<const char*, ReasoningForm> kForms[] = {
      {"both", ReasoningForm::kBoth},
      {"reasoning_content", ReasoningForm::kReasoningContent},
      {"reasoning", ReasoningForm::kReasoning},
      {"inline", ReasoningForm::kInline},
  };
  for (const auto& [known, form] : kForms) {
    if (name == known) return form;
  }
  CHECK(false, "the option's values are these");
  return ReasoningForm::kBoth;
}

absl::StatusOr<Efforts> ReadEfforts(std::string_view text) {
  Efforts efforts;
  for (const absl::string_view entry : absl::StrSplit(View(text), ',', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(entry, absl::MaxSplits('=', 1));
    std::int32_t tokens = 0;
    const bool unlimited = parts.second == "unlimited";
    const bool good = unlimited || (absl::SimpleAtoi(parts.second, &tokens) && tokens >= 0 &&
                                    tokens <= kMaxModelLen);
    if (parts.first.empty() || !good) {
      return absl::InvalidArgumentError(absl::StrCat("'", ShownText({entry.data(), entry.size()}),
                                                     "' must be NAME=TOKENS, of 0 to ",
                                                     kMaxModelLen, ", or NAME=unlimited"));
    }
    efforts[parts.first] = unlimited ? std::nullopt : std::optional(tokens);
  }
  return efforts;
}

}  // namespace thinkwire::router::http
