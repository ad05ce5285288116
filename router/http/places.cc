#include "router/http/places.h"

#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/strings.h"

namespace thinkwire::router::http {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr char kAsks[] = "POST, OPTIONS";
constexpr char kShows[] = "GET, HEAD, OPTIONS";

constexpr std::pair<std::string_view, Place> kPlaces[] = {
    {"/v1/chat/completions", {Endpoint::kChat, "chat_completions", kAsks}},
    {"/v1/completions", {Endpoint::kCompletions, "completions", kAsks}},
    {"/v1/responses", {Endpoint::kResponses, "responses", kAsks, Dialect::kResponses}},
    {"/v1/models", {Endpoint::kModels, "models", kShows}},
    {"/v1/answer_now", {Endpoint::kAnswerNow, "answer_now", kAsks}},
    {"/api/chat", {Endpoint::kOllamaChat, "ollama_chat", kAsks, Dialect::kOllama}},
    {"/api/generate", {Endpoint::kOllamaGenerate, "ollama_generate", kAsks, Dialect::kOllama}},
    {"/api/tags", {Endpoint::kOllamaTags, "ollama_tags", kShows, Dialect::kOllama}},
    {"/api/ps", {Endpoint::kOllamaRunning, "ollama_ps", kShows, Dialect::kOllama}},
    {"/api/show", {Endpoint::kOllamaShow, "ollama_show", kAsks, Dialect::kOllama}},
    {"/api/version", {Endpoint::kOllamaVersion, "ollama_version", kShows, Dialect::kOllama}},
    {"/health", {Endpoint::kHealth, "health", kShows}},
    {"/", {Endpoint::kPage, "page", kShows}},
};

// "%2F" in a model's name, as clients write "org/name".
std::string Unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (!escape) {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
    i += 2;
  }
  return out;
}

}  // namespace

Place PlaceOf(const std::string& path) {
  for (const auto& [known, place] : kPlaces) {
    if (path == known) return place;
  }
  if (absl::StartsWith(path, View(kModelPrefix)) && path.size() > kModelPrefix.size()) {
    return {Endpoint::kModel, "model", kShows};
  }
  const bool of_ollama = absl::StartsWith(path, "/api/");
  return {.dialect = of_ollama ? Dialect::kOllama : Dialect::kOpenAi};
}

bool Takes(const Place& place, const std::string& method) {
  return absl::StrContains(absl::StrCat(", ", place.methods, ","), absl::StrCat(" ", method, ","));
}

std::string ModelOf(const std::string& path) { return Unescaped(path.substr(kModelPrefix.size())); }

}  // namespace thinkwire::router::http
