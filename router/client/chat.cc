// thinkwire-chat: the command-line client. One question (argument, stdin or both), or a
// conversation.

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/bounded_input.h"
#include "common/clock.h"
#include "common/input_limits.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/rpc/client_security.h"
#include "common/status.h"
#include "common/version.h"
#include "router/client/chat_options.h"
#include "router/client/chat_session.h"
#include "router/client/conversation.h"
#include "router/client/interrupts.h"
#include "router/client/line_editor.h"
#include "router/client/probe.h"

namespace thinkwire::router::client {
namespace {

constexpr char kProgram[] = "thinkwire-chat";
constexpr int kSilenceMs = 1000;
constexpr double kProbeTimeoutS = 5;

int Talk(ChatSession& session, Interrupts& interrupts) {
  std::optional<LineEditor> editor;
  if (LineEditor::CanBe()) {
    editor.emplace();
    interrupts.KeepGoing([&] { editor->terminal().GiveBack(); });
  }
  Conversation(session, editor ? &*editor : nullptr).Run();
  interrupts.KeepGoing([] {});  // as the editor ends before the process does
  return 0;
}

// Whether somebody gives this program something to read: a file or a pipe, no terminal.
bool HasInput() {
  struct stat input {};
  return fstat(STDIN_FILENO, &input) == 0 &&
         (S_ISREG(input.st_mode) || S_ISFIFO(input.st_mode) || S_ISSOCK(input.st_mode));
}

// A pipe that nobody writes to would hang without a word.
void TellIfWaiting() {
  pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, kSilenceMs) == 0) {
    std::fprintf(stderr, "%s: waiting for the end of stdin, which goes before the question\n",
                 kProgram);
  }
}

// What is asked: what stdin has, and after it what the command line says.
absl::StatusOr<std::string> ReadQuestion(const std::optional<std::string>& words) {
  if (words && !HasInput()) return *words;
  if (words) TellIfWaiting();
  const auto input = ReadToEnd(std::cin, kMaxQuestionBytes);
  if (!input.ok()) return Annotate(input.status(), "stdin");
  const absl::string_view text = absl::StripTrailingAsciiWhitespace(*input);
  if (!words) return std::string(text);
  return text.empty() ? *words : absl::StrCat(text, "\n\n", *words);
}

// Whether the target of a probe serves, as an exit code.
int Answer(const ChatOptions& options, const rpc::ChannelSecurity& security) {
  const auto patience = std::chrono::duration<double>(options.timeout_s.value_or(kProbeTimeoutS));
  const absl::Status status =
      Probe(*options.probe, security, std::chrono::duration_cast<Clock::Duration>(patience));
  if (status.ok()) return 0;
  const std::string& name = options.probe->name;
  return EndWith(
      kProgram, kExitFailure,
      Annotate(status, absl::StrCat(options.probe->address, name.empty() ? "" : "/", name)));
}

// By what each router, or whose health is asked for, is reached.
absl::StatusOr<std::vector<rpc::ChannelSecurity>> MakeSecurities(const ChatOptions& options) {
  const std::vector<std::string> addresses =
      options.probe ? std::vector{options.probe->address} : options.routers;
  std::vector<rpc::ChannelSecurity> securities;
  for (const std::string& address : addresses) {
    ASSIGN_OR_RETURN(securities.emplace_back(),
                     rpc::MakeClientSecurity(options.tls, options.api_key_file, address));
  }
  return securities;
}

int Main(std::span<const char* const> arguments) {
  const auto options = ParseChatArguments(arguments);
  if (!options.ok()) return EndWith(kProgram, kExitUsage, options.status());
  if (options->help) {
    std::fputs(ChatUsage().c_str(), stdout);
    return 0;
  }
  if (options->version) {
    std::fputs(VersionLine(kProgram).c_str(), stdout);
    return 0;
  }
  SetLogLevel(LogLevel::kError);  // gRPC's own words about connections
  const auto securities = MakeSecurities(*options);
  if (!securities.ok()) return EndWith(kProgram, kExitUsage, securities.status());
  if (options->probe) return Answer(*options, securities->front());
  static Interrupts interrupts;  // its thread outlives main
  ChatSession session(*options, *securities, interrupts);
  if (options->list) return session.List();
  if (!options->question && isatty(STDIN_FILENO) != 0) return Talk(session, interrupts);
  const auto question = ReadQuestion(options->question);
  if (!question.ok()) return EndWith(kProgram, kExitUsage, question.status());
  return session.Ask(*question);
}

}  // namespace
}  // namespace thinkwire::router::client

int main(int argc, char** argv) {
  return thinkwire::router::client::Main(
      {argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
