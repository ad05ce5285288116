#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tls_files.h"
#include "router/client/probe.h"

namespace thinkwire::router::client {

// The client's command line.
struct ChatOptions {
  std::vector<std::string> routers = {"localhost:50051"};  // as DialAddress gives them; one or more
  TlsFiles tls;
  std::string api_key_file;
  std::optional<ProbeTarget> probe;  // whose health is asked for, instead of a question
  std::string variant;
  std::string task;
  bool may_substitute = false;
  std::string system;
  bool thinking = true;
  bool raw = false;
  bool json = false;
  bool show_ids = false;
  bool list = false;
  bool help = false;
  bool version = false;
  std::optional<std::uint64_t> seed;
  std::optional<float> temperature;
  std::optional<float> top_p;
  std::optional<std::int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::optional<std::int32_t> max_tokens;
  std::optional<std::int32_t> budget;
  std::optional<std::int32_t> min_answer;
  bool answer_in_time = false;
  std::optional<std::int32_t> n;
  bool answer_now = false;
  std::optional<std::int32_t> consensus;
  std::string priority;
  std::string stop;
  // What every answer must look like: at most one of these is not empty.
  std::string json_schema;  // its text
  std::string regex;
  std::vector<std::string> choices;
  std::optional<double> timeout_s;
  std::optional<std::string> question;  // unset: from stdin, or interactive
};

// Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<ChatOptions> ParseChatArguments(std::span<const char* const> arguments);

// Changes what may change between two questions: "NAME VALUE" or "NAME=VALUE" as on the command
// line, without dashes; "NAME" alone unsets it, or switches it on where it is true or false, and
// "no-NAME" off. Fails: INVALID_ARGUMENT, one sentence, and nothing has changed.
absl::Status SetInConversation(std::string_view setting, ChatOptions& options);

// What may change so, how it stands and what it means.
std::string DescribeSettings(const ChatOptions& options);

// The help page.
std::string ChatUsage();

}  // namespace thinkwire::router::client
