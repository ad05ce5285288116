#pragma once

#include <string>

#include "router/http/reply_form.h"

namespace thinkwire::router::http {

// What is answered at a path.
enum class Endpoint {
  kChat,
  kCompletions,
  kResponses,
  kModels,
  kModel,
  kAnswerNow,
  kOllamaChat,
  kOllamaGenerate,
  kOllamaTags,
  kOllamaRunning,
  kOllamaShow,
  kOllamaVersion,
  kHealth,
  kPage,
  kUnknown,
};

struct Place {
  Endpoint endpoint = Endpoint::kUnknown;
  const char* name = "other";  // in metrics
  const char* methods = "";    // that it takes, for Allow
  Dialect dialect = Dialect::kOpenAi;
};

Place PlaceOf(const std::string& path);
bool Takes(const Place& place, const std::string& method);

// The model in the path of Endpoint::kModel, as clients write "org%2Fname".
std::string ModelOf(const std::string& path);

}  // namespace thinkwire::router::http
