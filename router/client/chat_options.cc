#include "router/client/chat_options.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/options.h"
#include "common/status.h"
#include "common/utf8.h"

namespace thinkwire::router::client {
namespace {

std::vector<Option> Options(ChatOptions& options) {
  return {
      {"router", &options.router, "host:port of the router"},
      {"variant", &options.variant, "which model, by name or alias; unset: the router chooses"},
      {"task", &options.task, "what it is about, for the router's choice",
       OneOf("general|math|code|science|writing|extraction")},
      {"system", &options.system, "a system message; DeepSeek advises against one"},
      {"thinking", &options.thinking, "think before the answer; --no-think answers at once"},
      {"raw", &options.raw, "the question is a raw prompt: no chat template"},
      {"seed", &options.seed, "equal seeds give equal answers; unset: a random one"},
      {"temperature", &options.temperature, "0 to 2, 0 takes the most probable token; unset: 0.6"},
      {"top_p", &options.top_p, "over 0 to 1; unset: 0.95"},
      {"top_k", &options.top_k, "0 or more, 0 keeps all; unset: 0"},
      {"min_p", &options.min_p, "0 to 1; unset: 0"},
      {"repetition_penalty", &options.repetition_penalty,
       "over 0 to 2; over 1 avoids tokens of the prompt and the output; unset: 1"},
      {"presence_penalty", &options.presence_penalty,
       "-2 to 2, against tokens that were drawn; unset: 0"},
      {"frequency_penalty", &options.frequency_penalty,
       "-2 to 2, for each time that they were drawn; unset: 0"},
      {"max_tokens", &options.max_tokens, "reasoning and answer together; unset: as many as fit"},
      {"stop", &options.stop, "ends the answer where it says this"},
      {"timeout_s", &options.timeout_s, "seconds for one answer; unset: no limit", AtLeast(1)},
      {"json", &options.json, "one JSON event a line, for programs"},
      {"show_ids", &options.show_ids, "show token ids on stderr"},
      {"list", &options.list, "list the router's variants and leave"},
      {"help", &options.help, "print this page"},
  };
}

}  // namespace

absl::StatusOr<ChatOptions> ParseChatArguments(std::span<const char* const> arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!IsValidUtf8(arguments[i])) {
      return absl::InvalidArgumentError(absl::StrCat("argument ", i + 1, " is not valid UTF-8"));
    }
  }
  // "--no-think" is what people type.
  std::vector<const char*> spelled(arguments.begin(), arguments.end());
  for (const char*& argument : spelled) {
    const std::string text = argument;
    if (text == "--") break;
    if (text == "--no-think" || text == "--no_think" || text == "--nothink") {
      argument = "--no_thinking";
    }
  }
  ChatOptions options;
  ASSIGN_OR_RETURN(const auto words, ParseOptions(spelled, Options(options)));
  if (!words.empty()) options.question = absl::StrJoin(words, " ");
  if (options.raw && (!options.system.empty() || !options.thinking)) {
    return absl::InvalidArgumentError("--raw goes with neither --system nor --no-think");
  }
  return options;
}

std::string ChatUsage() {
  ChatOptions defaults;
  return absl::StrCat(
      "thinkwire-chat: asks a reasoning model.\n\n"
      "  thinkwire-chat [--option=value ...] \"question\"\n"
      "  echo \"question\" | thinkwire-chat [--option=value ...]\n"
      "  thinkwire-chat                     a conversation; an empty line or Ctrl-D ends it\n\n"
      "The answer goes to stdout, everything else to stderr, dimmed where that is a terminal.\n"
      "Exit codes: 0 completed, 1 the request failed, 2 wrong usage, 3 no connection, 130 "
      "Ctrl-C.\n\n",
      DescribeOptions(Options(defaults)));
}

}  // namespace thinkwire::router::client
