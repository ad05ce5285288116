#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/http/request_reader.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// What Ollama's clients ask beside answers. Threads: pure.

// Clients add ":latest" to names without a tag: the name without it. Not of "deepseek-r1:latest",
// which means a model of its own.
std::string WithoutLatest(const std::string& name);

// Seconds of Unix time as JSON, "2026-01-31T12:00:00Z" with its quotes.
std::string JsonTime(std::int64_t unix_seconds);

// /api/tags: "auto" and the variants, with the tag "latest" as some clients know no name without
// one. Sizes are 0 and times long ago, which a router does not know. A digest is another if other
// weights answer.
std::string TagsJson(const std::vector<v1::Variant>& variants);
// /api/ps: those with a live worker. They stay.
std::string RunningJson(const std::vector<v1::Variant>& variants);
// /api/show, of the model that the body names. Fails: INVALID_ARGUMENT, NOT_FOUND.
absl::StatusOr<std::string> ShowJson(const std::vector<v1::Variant>& variants,
                                     std::string_view body);
// /api/version: the release of Ollama whose API this is, which clients compare with what they need.
std::string OllamaVersionJson();

// A request without a question, by which clients load a model ahead or let go of it: its model. All
// of ours are always loaded. nullopt: another one.
struct LoadRequest {
  std::string model;
  bool unloads = false;
};
std::optional<LoadRequest> ReadLoadRequest(std::string_view body, bool chat);
// What it is told. Fails: NOT_FOUND.
absl::StatusOr<std::string> LoadReplyJson(const std::vector<v1::Variant>& variants,
                                          const LoadRequest& request, bool chat,
                                          std::int64_t created);

// Whether the model has the context that the request wants. Fails: INVALID_ARGUMENT.
absl::Status CheckContext(const std::vector<v1::Variant>& variants, const Asked& asked);

}  // namespace thinkwire::router::http
