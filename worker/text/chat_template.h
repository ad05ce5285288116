#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

enum class Role { kSystem, kUser, kAssistant };

struct ChatMessage {
  Role role;
  std::string content;  // valid UTF-8
};

// How the prompt ends, after `<｜Assistant｜>`.
enum class ThinkingMode {
  kForced,  // `<think>` LF: the model is made to reason (what DeepSeek recommends)
  kOff,     // `<think>` LF LF `</think>` LF LF: an empty thinking block, straight to the answer
  kModelDecides,  // nothing: the model may open `<think>` itself
};

// They differ in system messages: kDistill keeps only the last, kR1 joins all with a blank line.
enum class TemplateKind { kDistill, kR1 };

// kR1 for the 671B vocabulary (it alone has `<｜place▁holder▁no▁0｜>`), else kDistill.
TemplateKind DetectTemplateKind(const Tokenizer& tokenizer);

// Renders a conversation to token ids as the published chat templates of the family do, with a
// generation prompt. Control tokens come from here alone: the messages' own text is encoded by
// EncodeUserText, so that none of it can open or close a turn.
// Threads: immutable. Borrows the tokenizer, which must outlive it.
class ChatTemplate {
 public:
  // Fails: INVALID_ARGUMENT, naming it, when the tokenizer lacks a control token.
  static absl::StatusOr<ChatTemplate> Create(const Tokenizer& tokenizer, TemplateKind kind);

  // BOS, system text, then the turns in order: `<｜User｜>`text; `<｜Assistant｜>`text EOS, where
  // of an assistant's text only what follows its last `</think>` stays. The text is otherwise
  // untouched. Fails: INVALID_ARGUMENT for no messages or a text that is not UTF-8.
  absl::StatusOr<std::vector<std::int32_t>> Render(std::span<const ChatMessage> messages,
                                                   ThinkingMode mode) const;

 private:
  ChatTemplate(const Tokenizer& tokenizer, TemplateKind kind);

  void AppendGenerationPrompt(ThinkingMode mode, std::vector<std::int32_t>* out) const;
  std::string SystemText(std::span<const ChatMessage> messages) const;

  // Constant after construction.
  const Tokenizer* tokenizer_;
  TemplateKind kind_;
  ControlIds ids_;                                    // all of them there
  std::vector<std::int32_t> line_feed_, blank_line_;  // LF and LF LF as text
};

}  // namespace thinkwire::worker::text
