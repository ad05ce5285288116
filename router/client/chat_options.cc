#include "router/client/chat_options.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/dial_address.h"
#include "common/file.h"
#include "common/options.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::router::client {
namespace {

constexpr char kEnvironment[] = "THINKWIRE_CHAT_";
constexpr int kDefaultPort = 50051;

// What may change between two questions.
std::vector<Option> Settings(ChatOptions& options) {
  return {
      {"variant", &options.variant, "which model, by name or alias; unset: the router chooses"},
      {"task", &options.task, "what it is about, for the router's choice",
       OneOf("general|math|code|science|writing|extraction")},
      {"may_substitute", &options.may_substitute,
       "another model may answer, where this one has no worker or its thinking comes to nothing"},
      {"system", &options.system, "a system message; DeepSeek advises against one"},
      {"thinking", &options.thinking, "think before the answer; --no-think answers at once"},
      {"seed", &options.seed, "equal seeds give equal answers; unset: a random one"},
      {"temperature", &options.temperature, "0 takes the most probable token; unset: 0.6",
       Between(0, 2)},
      {"top_p", &options.top_p, "tokens that hold so much of the probability; unset: 0.95",
       Above(0, 1)},
      {"top_k", &options.top_k, "so many most probable tokens, 0 keeps all; unset: 0", AtLeast(0)},
      {"min_p", &options.min_p, "tokens with that share of the most probable one; unset: 0",
       Between(0, 1)},
      {"repetition_penalty", &options.repetition_penalty,
       "over 1 avoids tokens of the prompt and the output; unset: 1", Above(0, 2)},
      {"presence_penalty", &options.presence_penalty, "against tokens that were drawn; unset: 0",
       Between(-2, 2)},
      {"frequency_penalty", &options.frequency_penalty,
       "for each time that they were drawn; unset: 0", Between(-2, 2)},
      {"max_tokens", &options.max_tokens, "reasoning and answer together; unset: as many as fit",
       AtLeast(1)},
      {"budget", &options.budget, "so many tokens to think with; unset: the worker's default",
       AtLeast(0)},
      {"min_answer", &options.min_answer,
       "so many of --max_tokens are kept for the answer; unset: a share", AtLeast(0)},
      {"answer_in_time", &options.answer_in_time,
       "end the thinking while --timeout_s leaves time for the answer"},
      {"n", &options.n, "so many answers, the first of which a conversation goes on from; unset: 1",
       Between(1, kMaxOutputs)},
      {"answer_now", &options.answer_now,
       "at a terminal, Enter while it thinks has it answer from what it has thought so far"},
      {"consensus", &options.consensus,
       "so many outputs vote, and the answer that wins is shown; unset: one output",
       Between(2, kMaxOutputs)},
      {"priority", &options.priority, "before or after others of the same tenant, where they wait",
       OneOf("low|normal|high")},
      {"stop", &options.stop, "ends the answer where it says this"},
      {"timeout_s", &options.timeout_s, "seconds for one answer; unset: no limit",
       Between(0.001, 1e6)},
      {"show_ids", &options.show_ids, "show token ids on stderr"},
  };
}

// As they are spelled, before they are read.
struct Spelling {
  std::string routers = "localhost:50051";
  std::string probe;
  std::string json_schema;
  std::string choices;
};

std::vector<Option> Options(ChatOptions& options, Spelling& spelling) {
  std::vector<Option> all = {
      {"router", &spelling.routers,
       "the router: a host, or host:port; several, with commas: where one is lost the next goes "
       "on"},
      {"tls_ca", &options.tls.ca,
       "PEM file of the CAs that the router's certificate is of; unset: no TLS"},
      {"tls_cert", &options.tls.certificate, "PEM file of a certificate of its own"},
      {"tls_key", &options.tls.key, "PEM file of that one's private key"},
      {"api_key_file", &options.api_key_file, "file with the API key that a router asks for"},
      {"json_schema", &spelling.json_schema, "file with a JSON Schema that every answer must obey"},
      {"regex", &options.regex, "regular expression that every answer must match as a whole"},
      {"choices", &spelling.choices, "what every answer must be one of, with commas"},
      {"raw", &options.raw, "the question is a raw prompt: no chat template"},
      {"json", &options.json, "one JSON event a line, for programs"},
      {"list", &options.list, "list the router's variants and leave"},
      {"probe", &spelling.probe,
       "HOST:PORT or HOST:PORT/NAME of a router or worker: ask for its health and leave, 0 if it "
       "serves, else 1; NAME: liveness, readiness, variant/…"},
      {"help", &options.help, "print this page"},
      {"version", &options.version, "print version and commit"},
  };
  const std::vector<Option> settings = Settings(options);
  all.insert(all.begin() + 1, settings.begin(), settings.end());
  return all;
}

// "--no-think" is what people type.
std::string Spelled(const std::string& argument) {
  const bool people =
      argument == "--no-think" || argument == "--no_think" || argument == "--nothink";
  return people ? "--no_thinking" : argument;
}

absl::StatusOr<std::vector<std::string>> ReadRouters(const std::string& routers) {
  std::vector<std::string> read;
  for (const std::string& router : std::vector<std::string>(absl::StrSplit(routers, ','))) {
    ASSIGN_OR_RETURN(read.emplace_back(), DialAddress("router", router, kDefaultPort));
  }
  return read;
}

absl::Status ReadFormat(const Spelling& spelling, ChatOptions& options) {
  const int given = (spelling.json_schema.empty() ? 0 : 1) + (options.regex.empty() ? 0 : 1) +
                    (spelling.choices.empty() ? 0 : 1);
  if (given > 1) {
    return absl::InvalidArgumentError("an answer has one of --json_schema, --regex and --choices");
  }
  if (!spelling.choices.empty()) options.choices = absl::StrSplit(spelling.choices, ',');
  if (spelling.json_schema.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(options.json_schema, ReadFile(spelling.json_schema, kMaxSchemaBytes));
  return absl::OkStatus();
}

absl::Status CheckUtf8(std::span<const char* const> arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!IsValidUtf8(arguments[i])) {
      return absl::InvalidArgumentError(absl::StrCat("argument ", i + 1, " is not valid UTF-8"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ChatOptions> ParseChatArguments(std::span<const char* const> arguments) {
  RETURN_IF_ERROR(CheckUtf8(arguments));
  std::vector<std::string> spelled;
  bool ended = false;
  for (const char* argument : arguments) {
    ended = ended || std::string_view(argument) == "--";
    spelled.push_back(ended ? argument : Spelled(argument));
  }
  std::vector<const char*> pointers;
  for (const std::string& argument : spelled) pointers.push_back(argument.c_str());
  ChatOptions options;
  Spelling spelling;
  ASSIGN_OR_RETURN(const auto words,
                   ParseOptions(pointers, Options(options, spelling), kEnvironment));
  if (!spelling.probe.empty()) {
    ASSIGN_OR_RETURN(options.probe, ReadProbeTarget(spelling.probe, kDefaultPort));
  }
  RETURN_IF_ERROR(ReadFormat(spelling, options));
  if (!words.empty()) options.question = absl::StrJoin(words, " ");
  if (options.raw && (!options.system.empty() || !options.thinking)) {
    return absl::InvalidArgumentError("--raw goes with neither --system nor --no-think");
  }
  ASSIGN_OR_RETURN(options.routers, ReadRouters(spelling.routers));
  return options;
}

absl::Status SetInConversation(std::string_view setting, ChatOptions& options) {
  const std::size_t end = setting.find_first_of("= \t");
  const std::string name(setting.substr(0, end));
  const std::vector<Option> settings = Settings(options);
  if (end == setting.npos && UnsetOption(name, settings).ok()) return absl::OkStatus();
  std::string argument = Spelled(absl::StrCat("--", name));
  if (end != setting.npos) {
    absl::StrAppend(&argument, "=", absl::StripAsciiWhitespace(View(setting.substr(end + 1))));
  }
  const char* const arguments[] = {argument.c_str()};
  const absl::Status status = ParseOptions(arguments, settings).status();
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat(absl::StrReplaceAll(status.message(), {{" (see --help)", ""}}),
                   "; /set alone shows what there is"));
}

std::string DescribeSettings(const ChatOptions& options) {
  ChatOptions copy = options;  // the table wants something to write to
  const std::string lines = absl::StrReplaceAll(DescribeOptions(Settings(copy)), {{"  --", "  "}});
  return std::string(absl::StripTrailingAsciiWhitespace(lines));
}

std::string ChatUsage() {
  ChatOptions defaults;
  Spelling spelling;
  return absl::StrCat(
      "thinkwire-chat: asks a reasoning model.\n\n"
      "  thinkwire-chat [--option=value ...] \"question\"\n"
      "  thinkwire-chat [--option=value ...] \"sum it up\" < file\n"
      "  echo \"question\" | thinkwire-chat [--option=value ...]\n"
      "  thinkwire-chat                     a conversation; Ctrl-D ends it\n\n"
      "The answer goes to stdout, everything else to stderr, dimmed where that is a terminal.\n"
      "Exit codes: 0 completed, 1 the request failed, 2 wrong usage, 3 no connection, 130 "
      "Ctrl-C.\n\n",
      DescribeOptions(Options(defaults, spelling)), "\n", DescribeEnvironment(kEnvironment));
}

}  // namespace thinkwire::router::client
