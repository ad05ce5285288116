#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::router {
class CurrentCatalog;
}  // namespace thinkwire::router

namespace thinkwire::router::http {

// Where a client finds the reasoning in its answer.
enum class ReasoningForm {
  kBoth,              // in reasoning_content and in reasoning
  kReasoningContent,  // in the one alone
  kReasoning,         // in the other alone
  kInline,            // in content, as <think>…</think> before the answer
  kHidden,            // nowhere
};

// The same of each variant, where a request says nothing.
struct ReasoningForms {
  ReasoningForm any = ReasoningForm::kBoth;
  std::map<std::string, ReasoningForm> of_variant{};  // those that differ
  // What the configuration now says of a variant goes before both. Null: it says nothing.
  const CurrentCatalog* catalog = nullptr;

  ReasoningForm Of(const std::string& variant) const;
};

// Reads "both,llama-8b=inline": where the reasoning of any variant is, and of some. Fails:
// INVALID_ARGUMENT, one sentence.
absl::StatusOr<ReasoningForms> ReadReasoningForms(std::string_view text);

// Whose API a client speaks.
enum class Dialect { kOpenAi, kResponses, kOllama };

// How a client wants its answer.
struct ReplyForm {
  Dialect dialect = Dialect::kOpenAi;
  bool chat = true;     // of messages; else of a raw prompt, and the reasoning is in the text
  bool message = true;  // Ollama's: in a message; else in a field "response"
  bool stream = false;
  bool include_usage = false;  // in a chunk of its own
  bool summary = false;        // of kResponses: the reasoning stands where its summary would
  ReasoningForm reasoning = ReasoningForm::kBoth;
  const ReasoningForms* by_variant = nullptr;  // settles `reasoning`; null: it is settled
  bool logprobs = false;

  // A variant was chosen.
  void Settle(const std::string& variant) {
    if (by_variant != nullptr) reasoning = by_variant->Of(variant);
  }
};

// How many tokens a reasoning_effort may think: by its name, nullopt for as long as it likes.
using Efforts = std::map<std::string, std::optional<std::int32_t>>;

// Reads "low=2048,high=unlimited". Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<Efforts> ReadEfforts(std::string_view text);

// What the operator has said about reading requests.
struct ReaderOptions {
  ReasoningForms reasoning{};  // outlives the answers to what was read
  Efforts efforts{};
  bool strict = false;  // unknown fields are refused
};

}  // namespace thinkwire::router::http
