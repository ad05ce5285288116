// thinkwire-chat: the command-line client. One question (argument or stdin), or a conversation.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/bounded_input.h"
#include "common/input_limits.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "common/utf8.h"
#include "router/client/chat_json.h"
#include "router/client/chat_options.h"
#include "router/client/chat_request.h"
#include "router/client/chat_screen.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::router::client {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitNoConnection = 3;
constexpr int kExitInterrupted = 130;

// Takes Ctrl-C and SIGTERM on a thread of its own: cancels the running call, or ends the process
// where none runs. Made before any other thread, which inherit the blocked signals.
class Interrupts {
 public:
  Interrupts() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::thread([this, signals] {
      for (;;) {
        int signal = 0;
        if (sigwait(&signals, &signal) == 0) OnSignal(signal);
      }
    }).detach();
  }

  void Begin(grpc::ClientContext& context) {
    MutexLock lock(mu_);
    running_ = &context;
    interrupted_ = false;
  }
  // Whether the call was interrupted.
  bool End() {
    MutexLock lock(mu_);
    running_ = nullptr;
    return interrupted_;
  }

 private:
  void OnSignal(int signal) {
    MutexLock lock(mu_);
    if (running_ == nullptr || interrupted_) _exit(128 + signal);
    interrupted_ = true;
    running_->TryCancel();
  }

  Mutex mu_;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
};

double Seconds(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + 1e-9 * duration.nanos();
}

// "75 tokens of reasoning, 9 of answer, 41.2 tokens/s, 2.1 s, seed 7".
std::string Summary(const v1::Completed& completed, std::uint64_t seed) {
  const v1::Usage& usage = completed.usage();
  const v1::Timings& timings = completed.timings();
  const int tokens = usage.reasoning_tokens() + usage.answer_tokens();
  const double decoding = Seconds(timings.reasoning()) + Seconds(timings.answer());
  std::string text = absl::StrFormat("%d tokens of reasoning, %d of answer",
                                     usage.reasoning_tokens(), usage.answer_tokens());
  if (tokens > 1 && decoding > 0)
    absl::StrAppendFormat(&text, ", %.1f tokens/s", (tokens - 1) / decoding);
  absl::StrAppendFormat(&text, ", %.1f s, seed %u", Seconds(timings.total()), seed);
  return text;
}

class Chat {
 public:
  Chat(const ChatOptions& options, Interrupts& interrupts)
      : options_(options),
        interrupts_(interrupts),
        screen_(stdout, stderr),
        stub_(v1::ReasoningService::NewStub(rpc::MakeChannel(options.router))),
        request_(MakeRequest(options)) {}

  // Asks one question and shows what comes. The exit code.
  int Ask(const std::string& question) {
    if (question.empty()) return Complain(kExitUsage, "there is no question");
    if (!IsValidUtf8(question)) {
      return Complain(kExitUsage, "the question is not valid UTF-8");
    }
    AddQuestion(question);
    answer_.clear();
    grpc::ClientContext context;
    if (options_.timeout_s) {
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::seconds(*options_.timeout_s));
    }
    interrupts_.Begin(context);
    const auto reader = stub_->Generate(&context, request_);
    v1::GenerateResponse response;
    while (reader->Read(&response)) Show(response);
    const absl::Status status = rpc::FromGrpc(reader->Finish());
    const bool interrupted = interrupts_.End();
    screen_.EndLine();
    const int code = interrupted ? kExitInterrupted : Explain(status);
    Remember(code == 0);
    return code;
  }

  // A conversation on the terminal. The exit code.
  int Talk() {
    screen_.Note("Ask something; an empty line or Ctrl-D ends.");
    for (;;) {
      std::fputs("> ", stderr);
      std::string line;
      if (!std::getline(std::cin, line)) {
        std::fputs("\n", stderr);  // Ctrl-D leaves the cursor behind the prompt
        return 0;
      }
      if (absl::StripAsciiWhitespace(line).empty()) return 0;
      if (Ask(line) == kExitNoConnection) return kExitNoConnection;
    }
  }

  int List() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::ListVariantsRequest request;
    v1::ListVariantsResponse response;
    const absl::Status status = rpc::FromGrpc(stub_->ListVariants(&context, request, &response));
    if (!status.ok()) return Explain(status);
    for (const v1::Variant& variant : response.variants()) {
      if (options_.json) {
        std::printf("%s\n", JsonLine("variant", variant).c_str());
        continue;
      }
      std::printf("%s: %d of %d workers live, %d running, %d queued, context %d tokens%s%s\n",
                  variant.name().c_str(), variant.live_workers(), variant.configured_workers(),
                  variant.running(), variant.queued(), variant.max_model_len(),
                  variant.aliases().empty() ? "" : "; also ",
                  absl::StrJoin(variant.aliases(), ", ").c_str());
    }
    return 0;
  }

 private:
  void AddQuestion(const std::string& question) {
    if (options_.raw) {
      request_.mutable_prompt()->set_text(question);
      return;
    }
    auto* message = request_.mutable_prompt()->mutable_chat()->add_messages();
    message->set_role(v1::ROLE_USER);
    message->set_content(question);
  }

  // The next turn goes on from the answer, without its reasoning; a question that failed is
  // forgotten.
  void Remember(bool answered) {
    if (options_.raw) return;
    auto* messages = request_.mutable_prompt()->mutable_chat()->mutable_messages();
    if (!answered) {
      messages->RemoveLast();
      return;
    }
    auto* message = messages->Add();
    message->set_role(v1::ROLE_ASSISTANT);
    message->set_content(answer_);
  }

  void Show(const v1::GenerateResponse& response) {
    if (response.has_answer_delta()) answer_ += response.answer_delta().text();
    options_.json ? ShowAsJson(response) : ShowToPerson(response);
  }

  void ShowAsJson(const v1::GenerateResponse& response) {
    const std::string line = JsonLine(response);
    if (!line.empty()) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }

  void ShowToPerson(const v1::GenerateResponse& response) {
    switch (response.event_case()) {
      case v1::GenerateResponse::kQueued:
        screen_.Progress(absl::StrCat("waiting, ", response.queued().position(), " before this"));
        break;
      case v1::GenerateResponse::kStarted:
        ShowStarted(response.started());
        break;
      case v1::GenerateResponse::kReasoningDelta:
        screen_.Reasoning(response.reasoning_delta().text());
        Collect(response.reasoning_delta().token_ids());
        break;
      case v1::GenerateResponse::kReasoningFinished:
        Collect(response.reasoning_finished().token_ids());
        break;
      case v1::GenerateResponse::kAnswerDelta:
        screen_.Answer(response.answer_delta().text());
        Collect(response.answer_delta().token_ids());
        break;
      case v1::GenerateResponse::kFinished:
        Collect(response.finished().token_ids());
        ShowFinished(response.finished());
        break;
      case v1::GenerateResponse::kMoved:
        screen_.Note(absl::StrCat("[", response.moved().worker(),
                                  " goes on: ", response.moved().reason(), "]"));
        break;
      case v1::GenerateResponse::kCompleted:
        ShowCompleted(response.completed());
        break;
      case v1::GenerateResponse::EVENT_NOT_SET:
        break;
    }
  }

  void ShowStarted(const v1::Started& started) {
    seed_ = started.seed();
    ids_.clear();
    screen_.Note(absl::StrCat("[", started.variant(), " (", started.variant_reason(), ") on ",
                              started.worker(), " (", started.worker_reason(), ")]"));
  }

  void ShowFinished(const v1::Finished& finished) {
    if (finished.reason() == v1::FINISH_REASON_LENGTH) {
      screen_.Note(finished.phase() == v1::PHASE_REASONING
                       ? "[cut off while it was thinking: max_tokens, or the context, is full]"
                       : "[cut off: max_tokens, or the context, is full]");
    }
  }

  void ShowCompleted(const v1::Completed& completed) {
    screen_.Note(absl::StrCat("[", Summary(completed, seed_), "]"));
    if (options_.show_ids) screen_.Note(absl::StrCat("[ids: ", absl::StrJoin(ids_, " "), "]"));
  }

  template <class Ids>
  void Collect(const Ids& ids) {
    if (options_.show_ids) ids_.insert(ids_.end(), ids.begin(), ids.end());
  }

  // What went wrong, as a sentence. The exit code.
  int Explain(const absl::Status& status) {
    if (status.ok()) return 0;
    const std::string reason = rpc::ErrorReason(status);
    if (options_.json) {
      const nlohmann::ordered_json line = {{"event", "error"},
                                           {"code", absl::StatusCodeToString(status.code())},
                                           {"reason", reason},
                                           {"message", std::string(status.message())}};
      std::printf("%s\n",
                  line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    }
    if (absl::IsDeadlineExceeded(status)) {
      return Complain(kExitFailed, "the answer did not come in time");
    }
    // A status without an ErrorInfo is not the router's word but gRPC's about the way to it.
    if (absl::IsUnavailable(status) && reason.empty()) {
      return Complain(kExitNoConnection,
                      absl::StrCat("there is no connection to the router at ", options_.router,
                                   " (", status.message(), ")"));
    }
    std::string sentence(status.message());
    if (const auto delay = rpc::RetryAfter(status)) {
      absl::StrAppendFormat(&sentence, "; try again in %.0f s", ToSeconds(*delay));
    }
    return Complain(kExitFailed, sentence);
  }

  int Complain(int code, const std::string& sentence) {
    screen_.EndLine();
    std::fprintf(stderr, "thinkwire-chat: %s\n", WithoutControls(sentence).c_str());
    return code;
  }

  const ChatOptions& options_;
  Interrupts& interrupts_;
  Screen screen_;
  const std::unique_ptr<v1::ReasoningService::Stub> stub_;
  v1::GenerateRequest request_;  // with all turns so far
  std::string answer_;
  std::uint64_t seed_ = 0;
  std::vector<std::int32_t> ids_;
};

int Main(std::span<const char* const> arguments) {
  const auto options = ParseChatArguments(arguments);
  if (!options.ok()) {
    return EndWith("thinkwire-chat", kExitUsage, options.status());
  }
  if (options->help) {
    std::fputs(ChatUsage().c_str(), stdout);
    return 0;
  }
  SetLogLevel(LogLevel::kError);  // gRPC's own words about connections
  static Interrupts interrupts;   // its thread outlives main
  Chat chat(*options, interrupts);
  if (options->list) return chat.List();
  if (options->question) return chat.Ask(*options->question);
  if (isatty(STDIN_FILENO) != 0) return chat.Talk();
  const auto input = ReadToEnd(std::cin, kMaxQuestionBytes);
  if (!input.ok()) return EndWith("thinkwire-chat", kExitUsage, Annotate(input.status(), "stdin"));
  return chat.Ask(std::string(absl::StripTrailingAsciiWhitespace(*input)));
}

}  // namespace
}  // namespace thinkwire::router::client

int main(int argc, char** argv) {
  return thinkwire::router::client::Main(
      {argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
