#pragma once

#include <array>
#include <span>
#include <string>

#include "absl/strings/str_cat.h"

namespace thinkwire::router::http {

// One of the door's ways to ask for an answer.
struct Api {
  const char* path;
  const char* prompt;  // the member of its body that has "1+1?"
};

// All of them, OpenAI's first.
inline constexpr std::array<Api, 5> kApis{{
    {"/v1/chat/completions", R"("messages":[{"role":"user","content":"1+1?"}])"},
    {"/v1/completions", R"("prompt":"1+1?<think>\n")"},
    {"/v1/responses", R"("input":"1+1?")"},
    {"/api/chat", R"("messages":[{"role":"user","content":"1+1?"}])"},
    {"/api/generate", R"("prompt":"1+1?")"},
}};
inline constexpr const Api& kChat = kApis[0];
inline constexpr const Api& kCompletions = kApis[1];
inline constexpr const Api& kResponses = kApis[2];
inline constexpr std::span<const Api> kOpenAiApis{kApis.data(), 3};

// With more members, each after its comma.
inline std::string BodyFor(const Api& api, const std::string& more = "") {
  return absl::StrCat(R"({"model":"qwen-1.5b",)", api.prompt, more, "}");
}

}  // namespace thinkwire::router::http
