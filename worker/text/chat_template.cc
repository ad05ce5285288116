#include "worker/text/chat_template.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

// Of an earlier answer only what follows its reasoning is shown to the model again.
std::string_view WithoutReasoning(std::string_view content) {
  constexpr std::string_view kThinkEnd = "</think>";
  const std::size_t last = content.rfind(kThinkEnd);
  return last == std::string_view::npos ? content : content.substr(last + kThinkEnd.size());
}

void AppendIds(const std::vector<std::int32_t>& ids, std::vector<std::int32_t>* out) {
  out->insert(out->end(), ids.begin(), ids.end());
}

}  // namespace

TemplateKind DetectTemplateKind(const Tokenizer& tokenizer) {
  constexpr std::string_view kOnlyInR1 = "<｜place▁holder▁no▁0｜>";
  return tokenizer.TokenId(kOnlyInR1).has_value() ? TemplateKind::kR1 : TemplateKind::kDistill;
}

absl::StatusOr<ChatTemplate> ChatTemplate::Create(const Tokenizer& tokenizer, TemplateKind kind) {
  const ControlIds& ids = tokenizer.control_ids();
  const std::array<std::pair<std::optional<std::int32_t>, std::string_view>, 6> needed = {{
      {ids.bos, "begin of sentence (bos)"},
      {ids.eos, "end of sentence (eos)"},
      {ids.user, "<｜User｜>"},
      {ids.assistant, "<｜Assistant｜>"},
      {ids.think_begin, "<think>"},
      {ids.think_end, "</think>"},
  }};
  for (const auto& [id, name] : needed) {
    if (!id.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("the tokenizer has no token ", View(name),
                                                     ", which the chat template needs"));
    }
  }
  return ChatTemplate(tokenizer, kind);
}

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, TemplateKind kind)
    : tokenizer_(&tokenizer),
      kind_(kind),
      ids_(tokenizer.control_ids()),
      line_feed_(tokenizer.EncodeUserText("\n")),
      blank_line_(tokenizer.EncodeUserText("\n\n")) {}

absl::StatusOr<std::vector<std::int32_t>> ChatTemplate::Render(
    std::span<const ChatMessage> messages, ThinkingMode mode) const {
  if (messages.empty()) return absl::InvalidArgumentError("messages is empty");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!IsValidUtf8(messages[i].content)) {
      return absl::InvalidArgumentError(absl::StrCat("messages[", i, "].content is not UTF-8"));
    }
  }
  std::vector<std::int32_t> out = {*ids_.bos};
  AppendIds(tokenizer_->EncodeUserText(SystemText(messages)), &out);
  for (const ChatMessage& message : messages) {
    if (message.role == Role::kUser) {
      out.push_back(*ids_.user);
      AppendIds(tokenizer_->EncodeUserText(message.content), &out);
    } else if (message.role == Role::kAssistant) {
      out.push_back(*ids_.assistant);
      AppendIds(tokenizer_->EncodeUserText(WithoutReasoning(message.content)), &out);
      out.push_back(*ids_.eos);
    }
  }
  AppendGenerationPrompt(mode, &out);
  return out;
}

void ChatTemplate::AppendGenerationPrompt(ThinkingMode mode, std::vector<std::int32_t>* out) const {
  out->push_back(*ids_.assistant);
  switch (mode) {
    case ThinkingMode::kForced:
      out->push_back(*ids_.think_begin);
      AppendIds(line_feed_, out);
      break;
    case ThinkingMode::kOff:
      out->push_back(*ids_.think_begin);
      AppendIds(blank_line_, out);
      out->push_back(*ids_.think_end);
      AppendIds(blank_line_, out);
      break;
    case ThinkingMode::kModelDecides:
      break;
  }
}

std::string ChatTemplate::SystemText(std::span<const ChatMessage> messages) const {
  std::string text;
  bool is_first = true;
  for (const ChatMessage& message : messages) {
    if (message.role != Role::kSystem) continue;
    if (kind_ == TemplateKind::kDistill || is_first) {
      text = message.content;
    } else {
      text += "\n\n" + message.content;
    }
    is_first = false;
  }
  return text;
}

}  // namespace thinkwire::worker::text
