#include "router/http/reply_form.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "router/catalog.h"

namespace thinkwire::router::http {

namespace {

absl::StatusOr<ReasoningForm> FormByName(std::string_view name) {
  constexpr std::pair<std::string_view, ReasoningForm> kForms[] = {
      {"both", ReasoningForm::kBoth},
      {"reasoning_content", ReasoningForm::kReasoningContent},
      {"reasoning", ReasoningForm::kReasoning},
      {"inline", ReasoningForm::kInline},
  };
  for (const auto& [known, form] : kForms) {
    if (name == known) return form;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", ShownText(name),
                   "' must be both, reasoning_content, reasoning or inline, or the like of one "
                   "variant, as in llama-8b=inline"));
}

std::optional<ReasoningForm> ConfiguredForm(const CurrentCatalog* current,
                                            const std::string& name) {
  if (current == nullptr) return std::nullopt;
  const std::shared_ptr<const Catalog> catalog = current->Get();
  for (const std::size_t index : catalog->configured()) {
    const VariantConfig& variant = catalog->variants()[index];
    if (variant.name != name || variant.reasoning_field.empty()) continue;
    const auto form = FormByName(variant.reasoning_field);
    CHECK(form.ok(), "the configuration's reasoning fields are those that are known here");
    return *form;
  }
  return std::nullopt;
}

}  // namespace

ReasoningForm ReasoningForms::Of(const std::string& variant) const {
  if (const auto form = ConfiguredForm(catalog, variant)) return *form;
  const auto found = of_variant.find(variant);
  return found == of_variant.end() ? any : found->second;
}

absl::StatusOr<ReasoningForms> ReadReasoningForms(std::string_view text) {
  ReasoningForms forms;
  for (const absl::string_view entry : absl::StrSplit(View(text), ',', absl::SkipEmpty())) {
    const std::size_t equals = entry.find('=');
    const bool of_one = equals != entry.npos && equals > 0;
    const absl::string_view name = of_one ? entry.substr(equals + 1) : entry;
    ASSIGN_OR_RETURN(const ReasoningForm form, FormByName({name.data(), name.size()}));
    (of_one ? forms.of_variant[std::string(entry.substr(0, equals))] : forms.any) = form;
  }
  return forms;
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
