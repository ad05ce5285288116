#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

enum class Role { kSystem, kUser, kAssistant, kTool };

// Of a function; both valid UTF-8.
struct ToolCall {
  std::string name;
  std::string arguments;  // JSON as a rule
};

struct ChatMessage {
  Role role;
  std::string content;                    // valid UTF-8
  std::vector<ToolCall> tool_calls = {};  // of kAssistant only
};

// How the prompt ends, after `<｜Assistant｜>`, where the last message is not a tool's: after one
// of those it ends with the tools' outputs.
enum class ThinkingMode {
  kForced,  // `<think>` LF: the model is made to reason (what DeepSeek recommends)
  kOff,     // `<think>` LF LF `</think>` LF LF: an empty thinking block, straight to the answer
  kModelDecides,  // nothing: the model may open `<think>` itself
  // The last message's text, without an end of turn, and nothing more: the model goes on with it.
  // Where the text begins with `<think>` and holds no `</think>`, that is the control token.
  kContinued,
};

// They differ in system messages: kDistill keeps only the last, kR1 joins all with a blank line;
// and in calls of tools.
enum class TemplateKind { kDistill, kR1 };

// kR1 for the 671B vocabulary (it alone has `<｜place▁holder▁no▁0｜>`), else kDistill.
TemplateKind DetectTemplateKind(const Tokenizer& tokenizer);

// Renders a conversation to token ids as the published chat templates of the family do, with a
// generation prompt. Control tokens come from here alone: the messages' own text is encoded by
// EncodeUserText, so that none of it can open or close a turn.
//
// Tool calls and outputs come out as the published templates have them, oddities included. Of a
// conversation only the first message that calls opens a turn, and only the first output opens
// the list of outputs. kDistill shows no content beside calls, puts calls_end and the end of
// turn behind each call but the first one, and a line feed between outputs; kR1 shows the content
// of the first message that calls, ends every list of calls once, and puts nothing between outputs.
// Threads: immutable. Borrows the tokenizer, which must outlive it.
class ChatTemplate {
 public:
  // Fails: INVALID_ARGUMENT, naming it, when the tokenizer lacks a control token.
  static absl::StatusOr<ChatTemplate> Create(const Tokenizer& tokenizer, TemplateKind kind);

  // Whether Render takes a message with this: INVALID_ARGUMENT with what is wrong with it, for a
  // text that is not UTF-8, tools where the tokenizer lacks a token for them, content beside calls
  // in kDistill.
  absl::Status Check(const ChatMessage& message) const;

  // BOS, system text, then the turns in order: `<｜User｜>`text; `<｜Assistant｜>`text EOS, where
  // of an assistant's text only what follows its last `</think>` stays. The text is otherwise
  // untouched. Fails: INVALID_ARGUMENT for no messages, and for one that fails Check, by its
  // number.
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const ChatMessage> messages,
                                                   ThinkingMode mode) const;

 private:
  class Rendering;
  // `<｜tool▁calls▁begin｜>` and so on.
  struct ToolIds {
    std::int32_t calls_begin, calls_end, call_begin, call_end, separator;
    std::int32_t outputs_begin, outputs_end, output_begin, output_end;
  };

  ChatTemplate(const Tokenizer& tokenizer, TemplateKind kind);

  static std::optional<ToolIds> FindToolIds(const Tokenizer& tokenizer);
  std::string SystemText(std::span<const ChatMessage> messages) const;

  // Constant after construction.
  const Tokenizer* tokenizer_;
  TemplateKind kind_;
  ControlIds ids_;                   // all of them there but tools'
  std::optional<ToolIds> tool_ids_;  // all of them, or none
};

}  // namespace thinkwire::worker::text
