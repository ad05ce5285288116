#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/http/request_reader.h"

// How one field of a request is read; of request_reader.cc and its parts alone.
namespace thinkwire::router::http {

using Json = nlohmann::json;

// What has been read so far, and what can be settled only when all of it has.
struct Reading {
  const ReaderOptions& options;
  std::string_view body;
  Asked asked{};
  std::optional<std::int32_t> budget{};     // tokens, as the request says
  std::optional<std::int32_t> of_effort{};  // tokens, by its effort
  std::optional<bool> thinks{};             // it says whether
  std::optional<bool> shows_reasoning{};
  std::optional<std::int32_t> max_completion_tokens{};  // goes before max_tokens, its old name
  std::optional<ReasoningForm> form{};                  // of the reasoning
  // Of Ollama's generate, which has no messages; the Responses API has instructions, too.
  std::string system{};
  std::string prompt{};
  bool raw = false;
  std::string salt_of_key{};
  std::string salt_of_user{};

  v1::GenerateRequest& request() { return asked.request; }
  v1::PhaseSampling& sampling() { return *asked.request.mutable_sampling(); }
};

// `name` is the path of the field as the client has it.
struct Field {
  std::string_view name;
  absl::Status (*read)(const Json& value, const std::string& name, Reading& reading);
};

// Those of both of OpenAI's endpoints, and of each alone.
std::span<const Field> CommonFields();
std::span<const Field> ChatFields();
std::span<const Field> CompletionFields();
// All of those of the Responses API.
std::span<const Field> ResponsesFields();
// The same of Ollama's.
std::span<const Field> OllamaCommonFields();
std::span<const Field> OllamaChatFields();
std::span<const Field> OllamaGenerateFields();

// Of one type, or an error that names the field.
absl::StatusOr<bool> ReadBool(const Json& value, const std::string& name);
absl::StatusOr<double> ReadNumber(const Json& value, const std::string& name);
absl::StatusOr<std::int32_t> ReadInt(const Json& value, const std::string& name);
absl::StatusOr<std::string> ReadText(const Json& value, const std::string& name);
absl::Status CheckObject(const Json& value, const std::string& name);

// For each member of an object that is one of `fields`; the others' paths are kept as ignored.
absl::Status ReadMembers(const Json& object, const std::string& path, std::span<const Field> fields,
                         Reading& reading);

// One message, with `num_calls` of tools in those before it. Whatever else it has (reasoning of
// earlier turns, names, refusals) is dropped: the template has no place for it.
absl::Status ReadMessage(const Json& message, const std::string& path, std::int64_t* num_calls,
                         v1::ChatMessage* added);
// The list of messages.
absl::Status ReadMessages(const Json& value, const std::string& name, Reading& reading);

}  // namespace thinkwire::router::http
