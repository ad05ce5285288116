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
      tool_ids_(FindToolIds(tokenizer)) {}

std::optional<ChatTemplate::ToolIds> ChatTemplate::FindToolIds(const Tokenizer& tokenizer) {
  constexpr std::string_view kNames[] = {
      "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>",    "<｜tool▁call▁begin｜>",
      "<｜tool▁call▁end｜>",    "<｜tool▁sep｜>",          "<｜tool▁outputs▁begin｜>",
      "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"};
  std::vector<std::int32_t> ids;
  for (const std::string_view name : kNames) {
    const std::optional<std::int32_t> id = tokenizer.TokenId(name);
    if (!id || !tokenizer.IsAdded(*id)) return std::nullopt;
    ids.push_back(*id);
  }
  return ToolIds{ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], ids[6], ids[7], ids[8]};
}

// One prompt in the making. Text between two control tokens is tokenised as one.
class ChatTemplate::Rendering {
 public:
  explicit Rendering(const ChatTemplate& chat_template)
      : template_(chat_template), ids_(chat_template.ids_) {}

  void Begin(std::string_view system_text) {
    Token(*ids_.bos);
    text_ += system_text;
  }

  void Add(const ChatMessage& message) {
    switch (message.role) {
      case Role::kSystem:
        return;
      case Role::kUser:
        in_outputs_ = false;
        Token(*ids_.user);
        text_ += message.content;
        return;
      case Role::kTool:
        return AddOutput(message.content);
      case Role::kAssistant:
        if (!message.tool_calls.empty()) return AddCalls(message);
        BeginAnswer();
        text_ += WithoutReasoning(message.content);
        Token(*ids_.eos);
    }
  }

  void AddUnended(std::string_view content) {
    constexpr std::string_view kThinkBegin = "<think>";
    BeginAnswer();
    const std::string_view rest = WithoutReasoning(content);
    const bool thinks = rest.size() == content.size() && rest.starts_with(kThinkBegin);
    if (thinks) Token(*ids_.think_begin);
    text_ += rest.substr(thinks ? kThinkBegin.size() : 0);
  }

  void OpenTurn(ThinkingMode mode) {
    if (in_outputs_) return Token(tools().outputs_end);
    Token(*ids_.assistant);
    if (mode == ThinkingMode::kModelDecides) return;
    Token(*ids_.think_begin);
    text_ += mode == ThinkingMode::kOff ? "\n\n" : "\n";
    if (mode != ThinkingMode::kOff) return;
    Token(*ids_.think_end);
    text_ += "\n\n";
  }

  std::vector<std::int32_t> Take() {
    EncodeText();
    return std::move(out_);
  }

 private:
  const ToolIds& tools() const { return *template_.tool_ids_; }

  void Token(std::int32_t id) {
    EncodeText();
    out_.push_back(id);
  }

  void EncodeText() {
    const std::vector<std::int32_t> ids = template_.tokenizer_->EncodeUserText(text_);
    out_.insert(out_.end(), ids.begin(), ids.end());
    text_.clear();
  }

  void BeginAnswer() {
    Token(in_outputs_ ? tools().outputs_end : *ids_.assistant);
    in_outputs_ = false;
  }

  void AddCalls(const ChatMessage& message) {
    in_outputs_ = false;
    for (const ToolCall& call : message.tool_calls) {
      const bool is_first = !std::exchange(has_calls_, true);
      if (is_first) {
        Token(*ids_.assistant);
        text_ += WithoutReasoning(message.content);
        Token(tools().calls_begin);
      } else {
        text_ += "\n";
      }
      AddCall(call);
      if (template_.kind_ == TemplateKind::kDistill && !is_first) EndCalls();
    }
    if (template_.kind_ == TemplateKind::kR1) EndCalls();
  }

  void AddCall(const ToolCall& call) {
    Token(tools().call_begin);
    text_ += "function";
    Token(tools().separator);
    text_ += absl::StrCat(call.name, "\n```json\n", call.arguments, "\n```");
    Token(tools().call_end);
  }

  void EndCalls() {
    Token(tools().calls_end);
    Token(*ids_.eos);
  }

  void AddOutput(std::string_view content) {
    in_outputs_ = true;
    if (!std::exchange(has_outputs_, true)) {
      Token(tools().outputs_begin);
    } else if (template_.kind_ == TemplateKind::kDistill) {
      text_ += "\n";
    }
    Token(tools().output_begin);
    text_ += content;
    Token(tools().output_end);
  }

  const ChatTemplate& template_;
  const ControlIds& ids_;
  std::string text_;  // since the last control token
  std::vector<std::int32_t> out_;
  bool in_outputs_ = false;   // the last message was a tool's
  bool has_calls_ = false;    // a message before has called
  bool has_outputs_ = false;  // a tool before has answered
};

absl::StatusOr<std::vector<std::int32_t>> ChatTemplate::Render(
    std::span<const ChatMessage> messages, ThinkingMode mode) const {
  if (messages.empty()) return absl::InvalidArgumentError("messages is empty");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const absl::Status status = Check(messages[i]);
    if (!status.ok()) return Annotate(status, absl::StrCat("messages[", i, "]"));
  }
  const bool continued = mode == ThinkingMode::kContinued;
  Rendering rendering(*this);
  rendering.Begin(SystemText(messages));
  for (const ChatMessage& message : messages.first(messages.size() - (continued ? 1 : 0))) {
    rendering.Add(message);
  }
  continued ? rendering.AddUnended(messages.back().content) : rendering.OpenTurn(mode);
  return rendering.Take();
}

absl::Status ChatTemplate::Check(const ChatMessage& message) const {
  if (!IsValidUtf8(message.content)) return absl::InvalidArgumentError("content is not UTF-8");
  for (const ToolCall& call : message.tool_calls) {
    if (IsValidUtf8(call.name) && IsValidUtf8(call.arguments)) continue;
    return absl::InvalidArgumentError("tool_calls are not UTF-8");
  }
  const bool calls = !message.tool_calls.empty();
  if ((calls || message.role == Role::kTool) && !tool_ids_) {
    return absl::InvalidArgumentError("is of tools, for which the model has no control tokens");
  }
  if (!calls || kind_ == TemplateKind::kR1 || message.content.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "has content and tool_calls, of which the model's template shows the calls alone");
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
