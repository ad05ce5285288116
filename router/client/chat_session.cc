#include "router/client/chat_session.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/rpc/output_index.h"
#include "common/rpc/status_details.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "router/client/chat_json.h"
#include "router/client/chat_request.h"

namespace thinkwire::router::client {
namespace {

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
  if (usage.forced_tokens() > 0) {
    absl::StrAppendFormat(&text, ", %d of them not drawn", usage.forced_tokens());
  }
  if (tokens > 1 && decoding > 0)
    absl::StrAppendFormat(&text, ", %.1f tokens/s", (tokens - 1) / decoding);
  absl::StrAppendFormat(&text, ", %.1f s, seed %u", Seconds(timings.total()), seed);
  return text;
}

// What has closed reasoning that the model did not close.
std::string_view WhyClosed(v1::ReasoningFinishCause cause) {
  switch (cause) {
    case v1::REASONING_FINISH_CAUSE_BUDGET:
      return "it has thought as long as it may";
    case v1::REASONING_FINISH_CAUSE_LOOP:
      return "it went in circles";
    case v1::REASONING_FINISH_CAUSE_DEADLINE:
      return "the time is needed for the answer";
    default:
      return "it was asked to answer now";
  }
}

// How its address is reached, where that is not simply so.
std::string Way(const std::string& router) {
  if (rpc::ProxyFor(router) == rpc::Proxy::kNone) return "";
  const std::string proxy = rpc::ProxyOfEnvironment(router);
  return proxy.empty() ? "" : absl::StrCat(" through the proxy ", proxy);
}

// Whether another router may do better. One that dies gives UNAVAILABLE, or CANCELLED where it ends
// its calls itself.
bool MayGoOn(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsCancelled(status);
}

}  // namespace

ChatSession::ChatSession(ChatOptions options, const std::vector<rpc::ChannelSecurity>& securities,
                         Interrupts& interrupts)
    : options_(std::move(options)), interrupts_(interrupts), screen_(stdout, stderr) {
  for (std::size_t i = 0; i < options_.routers.size(); ++i) {
    const std::string& router = options_.routers[i];
    stubs_.push_back(v1::ReasoningService::NewStub(
        rpc::MakeChannel(router, rpc::ProxyFor(router), securities[i])));
  }
}

int ChatSession::Ask(const std::string& question) {
  if (question.empty()) return Complain(kExitUsage, "there is no question");
  if (!IsValidUtf8(question)) return Complain(kExitUsage, "the question is not valid UTF-8");
  answer_.clear();
  voted_for_.reset();
  order_ = {};
  output_ = -1;
  bool interrupted = false;
  const absl::Status status = Generate(RequestFor(question), interrupted);
  if (!interrupted) {
    for (const v1::GenerateResponse& kept : order_.TakeRest()) ShowToPerson(kept);
  }
  screen_.EndLine();
  const int code = interrupted ? kExitInterrupted : Explain(status);
  // The next turn goes on from the answer, without its reasoning.
  if (code == 0 && !options_.raw) turns_.push_back({question, answer_});
  return code;
}

v1::GenerateRequest ChatSession::RequestFor(const std::string& question) const {
  v1::GenerateRequest request = MakeRequest(options_);
  if (options_.raw) {
    request.mutable_prompt()->set_text(question);
    return request;
  }
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  for (const Turn& turn : turns_) {
    AddMessage(v1::ROLE_USER, turn.question, chat);
    AddMessage(v1::ROLE_ASSISTANT, turn.answer, chat);
  }
  AddMessage(v1::ROLE_USER, question, chat);
  return request;
}

absl::Status ChatSession::Generate(const v1::GenerateRequest& request, bool& interrupted) {
  std::optional<std::chrono::system_clock::time_point> deadline;
  if (options_.timeout_s) {
    const std::chrono::duration<double> timeout(*options_.timeout_s);
    deadline = std::chrono::system_clock::now() +
               std::chrono::duration_cast<std::chrono::microseconds>(timeout);
  }
  StreamRecord record(request);
  for (std::size_t failed = 1;; ++failed) {
    grpc::ClientContext context;
    if (deadline) context.set_deadline(*deadline);
    bool heard = false;
    interrupts_.Begin(context);
    const absl::Status status = Read(record, context, heard);
    interrupted = interrupts_.End();
    if (heard) failed = 1;
    if (interrupted || !MayGoOn(status) || failed == stubs_.size() || !record.MayGoOn()) {
      return status;
    }
    const std::string lost = router();
    router_ = (router_ + 1) % stubs_.size();
    if (!options_.json)
      screen_.Note(absl::StrCat("[", router(), " is asked in place of ", lost, "]"));
  }
}

absl::Status ChatSession::Read(StreamRecord& record, grpc::ClientContext& context, bool& heard) {
  const auto reader = stubs_[router_]->Generate(&context, record.NextRequest());
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    heard = true;
    WatchAnswerKey(response);
    if (const auto shown = record.Add(response)) Show(*shown);
  }
  EndAnswerKey();
  return rpc::FromGrpc(reader->Finish());
}

void ChatSession::WatchAnswerKey(const v1::GenerateResponse& response) {
  if (!options_.answer_now || !AnswerKey::CanBe()) return;
  if (response.has_started() && response.started().first_phase() != v1::PHASE_ANSWER) {
    answer_key_.emplace(*stubs_[router_], response.started().request_id());
  } else if (response.has_reasoning_finished() || response.has_answer_delta() ||
             response.has_finished()) {
    EndAnswerKey();
  }
}

void ChatSession::EndAnswerKey() {
  if (!answer_key_) return;
  const absl::Status status = answer_key_->End();
  answer_key_.reset();
  if (!status.ok())
    screen_.Note(absl::StrCat("[it was not told to answer: ", status.message(), "]"));
}

int ChatSession::List() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::ListVariantsRequest request;
  v1::ListVariantsResponse response;
  const absl::Status status =
      rpc::FromGrpc(stubs_[router_]->ListVariants(&context, request, &response));
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

void ChatSession::Show(const v1::GenerateResponse& response) {
  if (options_.consensus) return ShowOfVote(response);
  const bool is_of_first = rpc::OutputIndexOf(response) == 0;
  if (response.has_answer_delta() && is_of_first) answer_ += response.answer_delta().text();
  if (options_.json) return ShowAsJson(response);
  for (const v1::GenerateResponse& shown : order_.Add(response)) ShowToPerson(shown);
}

void ChatSession::ShowOutput(std::int32_t output) {
  if (output < 0 || output == std::exchange(output_, output) || !has_several()) return;
  ids_.clear();
  screen_.Note(absl::StrCat("[answer ", output + 1, " of ", *options_.n, "]"));
}

// Of those that have lost only the end comes, which says nothing to a person.
void ChatSession::ShowOfVote(const v1::GenerateResponse& response) {
  if (response.has_answer_delta()) answer_ += response.answer_delta().text();
  if (options_.json) return ShowAsJson(response);
  if (response.has_reasoning_delta()) voted_for_ = response.reasoning_delta().output_index();
  if (response.has_answer_delta()) voted_for_ = response.answer_delta().output_index();
  const bool of_loser = response.has_finished() && response.finished().output_index() != voted_for_;
  if (!of_loser) ShowToPerson(response);
}

void ChatSession::ShowAsJson(const v1::GenerateResponse& response) {
  const std::string line = JsonLine(response);
  if (!line.empty()) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

void ChatSession::ShowToPerson(const v1::GenerateResponse& response) {
  ShowOutput(rpc::OutputIndexOf(response));
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
      ShowReasoningFinished(response.reasoning_finished());
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
    case v1::GenerateResponse::kProgress:
      ShowProgress(response.progress());
      break;
    case v1::GenerateResponse::kRestarted:
      ShowRestarted(response.restarted());
      break;
    case v1::GenerateResponse::EVENT_NOT_SET:
      break;
  }
}

void ChatSession::ShowStarted(const v1::Started& started) {
  seed_ = started.seed();
  ids_.clear();
  screen_.Note(absl::StrCat("[", started.variant(), " (", started.variant_reason(), ") on ",
                            started.worker(), " (", started.worker_reason(), ")]"));
}

void ChatSession::ShowRestarted(const v1::Restarted& restarted) {
  ids_.clear();
  screen_.Note(absl::StrCat("[", restarted.variant(), " on ", restarted.worker(),
                            " begins anew: ", restarted.reason(), "]"));
}

void ChatSession::ShowReasoningFinished(const v1::ReasoningFinished& finished) {
  if (!finished.forced()) return;
  const std::string_view why = WhyClosed(finished.cause());
  screen_.Note(absl::StrCat("[", View(why), ": it answers]"));
}

void ChatSession::ShowProgress(const v1::Progress& progress) {
  if (progress.reason() == v1::SILENCE_REASON_VOTING) {
    return screen_.Progress(absl::StrCat(*options_.consensus, " outputs are to vote, ",
                                         progress.computed_tokens(), " tokens so far"));
  }
  if (progress.reason() == v1::SILENCE_REASON_MOVING) {
    return screen_.Progress("looking for another worker");
  }
  const bool waits = progress.reason() == v1::SILENCE_REASON_WAITING;
  screen_.Progress(waits ? "waiting for its place"
                         : absl::StrCat("reading, ", progress.computed_tokens(), " of ",
                                        progress.total_tokens(), " tokens"));
}

void ChatSession::ShowFinished(const v1::Finished& finished) {
  if (finished.reason() == v1::FINISH_REASON_LENGTH) {
    screen_.Note(finished.phase() == v1::PHASE_REASONING
                     ? "[cut off while it was thinking: max_tokens, or the context, is full]"
                     : "[cut off: max_tokens, or the context, is full]");
  }
  if (has_several()) ShowIds();
}

void ChatSession::ShowIds() {
  if (options_.show_ids) screen_.Note(absl::StrCat("[ids: ", absl::StrJoin(ids_, " "), "]"));
}

void ChatSession::ShowCompleted(const v1::Completed& completed) {
  if (options_.consensus) ShowVotes(completed);
  screen_.Note(absl::StrCat("[", Summary(completed, seed_), "]"));
  if (!has_several()) ShowIds();
}

void ChatSession::ShowVotes(const v1::Completed& completed) {
  std::vector<std::string> votes;
  for (const v1::Vote& vote : completed.votes()) {
    votes.push_back(absl::StrCat(vote.output_indexes_size(), " for ", vote.answer()));
  }
  screen_.Note(votes.empty() ? "[no output has an answer to vote for]"
                             : absl::StrCat("[votes: ", absl::StrJoin(votes, ", "), "]"));
}

void ChatSession::ShowErrorAsJson(const absl::Status& status) {
  const nlohmann::ordered_json line = {{"event", "error"},
                                       {"code", absl::StatusCodeToString(status.code())},
                                       {"reason", rpc::ErrorReason(status)},
                                       {"message", std::string(status.message())}};
  std::printf("%s\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

int ChatSession::Explain(const absl::Status& status) {
  if (status.ok()) return 0;
  if (options_.json) ShowErrorAsJson(status);
  if (absl::IsDeadlineExceeded(status)) {
    return Complain(kExitFailed, "the answer did not come in time");
  }
  // A status without an ErrorInfo is not the router's word but gRPC's about the way to it.
  if (absl::IsUnavailable(status) && rpc::ErrorReason(status).empty()) {
    return Complain(kExitNoConnection,
                    absl::StrCat("there is no connection to the router at ", router(),
                                 Way(router()), " (", status.message(), ")"));
  }
  std::string sentence = InWordsOfOptions(status);
  if (const auto delay = rpc::RetryAfter(status)) {
    absl::StrAppendFormat(&sentence, "; try again in %.0f s", ToSeconds(*delay));
  }
  return Complain(kExitFailed, sentence);
}

int ChatSession::Complain(int code, const std::string& sentence) {
  screen_.EndLine();
  std::fprintf(stderr, "thinkwire-chat: %s\n", WithoutControls(sentence).c_str());
  return code;
}

}  // namespace thinkwire::router::client
