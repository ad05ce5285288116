#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/chat_template.h"

namespace thinkwire::worker::text {

// How chats are rendered, and what is to be said of it.
struct TemplateChoice {
  TemplateKind kind = TemplateKind::kDistill;
  std::vector<std::string> warnings;  // each names the file
};

// Chooses by the chat template that the checkpoint in the folder `model` has: chat_template.jinja,
// else chat_template of tokenizer_config.json; where both are there and differ, a warning says
// which one is obeyed. A GGUF file has tokenizer.chat_template. Templates are not run but
// recognised, those of the distills, of R1, and of the distills without tools, by what decides how
// they render (template_pieces.h); whether they end with `<think>` is no difference, as
// ThinkingMode says that. A checkpoint without one is rendered as DetectTemplateKind says, and so
// is one with another template where `any` is set, with a warning that shows where it departs.
// Fails: INVALID_ARGUMENT for another template, showing where it departs, and for a file that is
// none.
absl::StatusOr<TemplateChoice> ChooseTemplate(const std::filesystem::path& model,
                                              const Tokenizer& tokenizer, bool any);

// The chat template that ChooseTemplate obeys; nothing where the checkpoint has none.
// Fails: INVALID_ARGUMENT for a file that is none.
absl::StatusOr<std::optional<std::string>> ReadChatTemplate(const std::filesystem::path& model);

// Whether `source` is a known template, and of which kind. Fails: NOT_FOUND, the message shows the
// first piece that no known template has there.
absl::StatusOr<TemplateKind> RecogniseTemplate(std::string_view source);

}  // namespace thinkwire::worker::text
