#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::router::http {

// Where a client finds the reasoning in its answer.
enum class ReasoningForm {
  kBoth,              // in reasoning_content and in reasoning
  kReasoningContent,  // in the one alone
  kReasoning,         // in the other alone
  kInline,            // in content, as <think>…</think> before the answer
  kHidden,            // nowhere
};

// What --http_reasoning_field says. REQUIRES: it is one of the option's values.
ReasoningForm ReasoningFormByName(const std::string& name);

// Whose API a client speaks.
enum class Dialect { kOpenAi, kOllama };

// How a client wants its answer.
struct ReplyForm {
  Dialect dialect = Dialect::kOpenAi;
  bool chat = true;     // of messages; else of a raw prompt, and the reasoning is in the text
  bool message = true;  // Ollama's: in a message; else in a field "response"
  bool stream = false;
  bool include_usage = false;  // in a chunk of its own
  ReasoningForm reasoning = ReasoningForm::kBoth;
  bool logprobs = false;
};

// How many tokens a reasoning_effort may think: by its name, nullopt for as long as it likes.
using Efforts = std::map<std::string, std::optional<std::int32_t>>;

// Reads "low=2048,high=unlimited". Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<Efforts> ReadEfforts(std::string_view text);

// What the operator has said about reading requests.
struct ReaderOptions {
  ReasoningForm reasoning = ReasoningForm::kBoth;
  Efforts efforts{};
  bool strict = false;  // unknown fields are refused
};

}  // namespace thinkwire::router::http
