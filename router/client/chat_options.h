#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace thinkwire::router::client {

// The client's command line.
struct ChatOptions {
  std::string router = "localhost:50051";
  std::string variant;
  std::string task;
  std::string system;
  bool thinking = true;
  bool raw = false;
  bool json = false;
  bool show_ids = false;
  bool list = false;
  bool help = false;
  std::optional<std::uint64_t> seed;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<std::int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::optional<std::int32_t> max_tokens;
  std::string stop;
  std::optional<std::int32_t> timeout_s;
  std::optional<std::string> question;  // unset: from stdin, or interactive
};

// Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<ChatOptions> ParseChatArguments(std::span<const char* const> arguments);

// The help page.
std::string ChatUsage();

}  // namespace thinkwire::router::client
