#include "tests/fakes/fake_worker.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/few_pollers.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/open_calls.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/request_revision.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"

namespace thinkwire {
namespace {

// Scripts are sent in one go.
constexpr std::size_t kCapacity = 4096;
constexpr std::chrono::seconds kPatience{60};
constexpr std::int32_t kPromptIds[] = {1, 2, 3};  // whatever the prompt
constexpr std::int32_t kContext = 4096;
constexpr std::int32_t kVocabSize = 1000;

// What answers a request of one token.
std::vector<v1::GenerateResponse> OneToken() {
  std::vector<v1::GenerateResponse> events(4);
  auto* started = events[0].mutable_started();
  started->set_prompt_tokens(1);
  started->set_fingerprint("fake");
  started->set_first_phase(v1::PHASE_ANSWER);
  started->mutable_limits()->set_max_tokens(1);
  started->mutable_limits()->set_max_model_len(kContext);
  started->mutable_limits()->set_vocab_size(kVocabSize);
  events[1].mutable_answer_delta()->set_text("2");
  events[1].mutable_answer_delta()->add_token_ids(1);
  auto* finished = events[2].mutable_finished();
  finished->set_reason(v1::FINISH_REASON_LENGTH);
  finished->set_phase(v1::PHASE_ANSWER);
  finished->mutable_tokens()->set_answer_tokens(1);
  events[3].mutable_completed()->mutable_usage()->set_prompt_tokens(1);
  events[3].mutable_completed()->mutable_usage()->set_answer_tokens(1);
  return events;
}

rpc::OpenCalls::Options Limits() {
  rpc::OpenCalls::Options options;
  options.limits.queued_bytes = options.limits.all_queued_bytes = std::size_t{1} << 30;
  return options;
}

using Events = std::vector<v1::GenerateResponse>;

// How much of an output has been sent.
struct Sent {
  int ids = 0;
  std::int64_t text_bytes = 0;
  std::int64_t answer_began = 0;  // in text_bytes
};

// Whether what stands in the state has brought the delta.
template <class Delta>
bool Covers(const v1::OutputState& state, const Delta& delta, std::int64_t text_bytes, Sent& sent) {
  sent.ids += delta.token_ids_size();
  sent.text_bytes += static_cast<std::int64_t>(delta.text().size());
  return sent.ids <= state.token_ids_size() && sent.text_bytes <= text_bytes;
}

// The output that the event is of, if it is of any.
std::optional<std::int32_t> OutputOf(const v1::GenerateResponse& event) {
  if (event.has_reasoning_delta()) return event.reasoning_delta().output_index();
  if (event.has_reasoning_finished()) return event.reasoning_finished().output_index();
  if (event.has_answer_delta()) return event.answer_delta().output_index();
  if (event.has_finished()) return event.finished().output_index();
  return std::nullopt;
}

// Whether the next event of the output has been sent where `state` has.
bool WasSent(const v1::GenerateResponse& event, const v1::OutputState& state, Sent& sent) {
  if (event.has_reasoning_delta()) {
    const bool covered = Covers(state, event.reasoning_delta(), state.reasoning_text_bytes(), sent);
    sent.answer_began = sent.text_bytes;
    return covered;
  }
  if (event.has_reasoning_finished()) {
    sent.ids += event.reasoning_finished().token_ids_size();
    return state.reasoning_finished();
  }
  if (event.has_finished()) return state.finished();
  return Covers(state, event.answer_delta(), sent.answer_began + state.answer_text_bytes(), sent);
}

// What is left of the script where `state` has been sent, in whole events.
Events Remaining(const Events& events, const v1::ResumeState& state) {
  Events rest;
  std::map<std::int32_t, Sent> sent;
  for (const v1::GenerateResponse& event : events) {
    const std::optional<std::int32_t> index = OutputOf(event);
    const auto output = std::ranges::find_if(
        state.outputs(), [&](const auto& one) { return one.output_index() == index; });
    const bool begun = index && output != state.outputs().end();
    if (!begun || !WasSent(event, *output, sent[*index])) rest.push_back(event);
  }
  return rest;
}

Events EventsFor(const v1::WorkerGenerateRequest& request, const Events& script) {
  return request.has_resume() ? Remaining(script, request.resume()) : script;
}

}  // namespace

class FakeWorker::Generation final : public rpc::ServerCall {
 public:
  Generation(FakeWorker& worker, const grpc::CallbackServerContext& context)
      : ServerCall(kCapacity), worker_(worker) {
    call_.deadline = context.deadline();
    call_.tenant = rpc::TenantOfPeer(context);
    call_.traceparent = rpc::TraceparentOf(context);
  }

  bool Is(const AnswerNow& asked) const {
    return call_.request.request_id() == asked.request.request_id() && call_.tenant == asked.tenant;
  }

  void Say(const v1::GenerateResponse& event) {
    v1::WorkerGenerateResponse message;
    message.set_attempt(call_.request.attempt());
    message.set_seq(next_seq_++);
    *message.mutable_event() = event;
    Write(message);
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    CHECK(rpc::ParseRequest(bytes, call_.request).ok(), "the router sends valid requests");
    if (absl::StartsWith(call_.request.request_id(), "probe-")) return AnswerProbe();
    {
      MutexLock lock(worker_.mu_);
      worker_.generations_.insert(Self());
      worker_.last_call_ = call_;
      ++worker_.num_calls_;
      worker_.changed_.NotifyAll();
    }
    Play(call_.request);
  }
  void OnCancelled() override {
    MutexLock lock(worker_.mu_);
    ++worker_.num_cancels_;
    worker_.changed_.NotifyAll();
  }
  void OnEnded() override {
    MutexLock lock(worker_.mu_);
    worker_.generations_.erase(Self());
  }
  std::shared_ptr<Generation> Self() {
    return std::static_pointer_cast<Generation>(shared_from_this());
  }

  void AnswerProbe() {
    absl::Status end;
    {
      MutexLock lock(worker_.mu_);
      ++worker_.num_probes_;
      worker_.changed_.NotifyAll();
      end = worker_.script_.probe_end;
    }
    std::int64_t seq = 0;
    for (v1::GenerateResponse& event :
         end.ok() ? OneToken() : std::vector<v1::GenerateResponse>()) {
      v1::WorkerGenerateResponse message;
      message.set_attempt(1);
      message.set_seq(seq++);
      if (event.has_started()) message.mutable_prompt_ids()->add_ids(0);
      message.mutable_event()->Swap(&event);
      if (!Write(message)) return;
    }
    Finish(end);
  }

  void Play(const v1::WorkerGenerateRequest& request) {
    Script script;
    {
      MutexLock lock(worker_.mu_);
      script = worker_.script_;
    }
    const bool unanswered = request.end_without_answer() && !script.unanswered.empty();
    const Events events = EventsFor(request, unanswered ? script.unanswered : script.events);
    CHECK(events.size() <= kCapacity, "a script fits the stream");
    for (std::size_t i = 0; i < events.size(); ++i) {
      v1::WorkerGenerateResponse message;
      message.set_attempt(request.attempt());
      message.set_seq(static_cast<std::int64_t>(i));
      next_seq_ = message.seq() + 1;
      *message.mutable_event() = events[i];
      if (i == 0)
        message.mutable_prompt_ids()->mutable_ids()->Assign(kPromptIds, std::end(kPromptIds));
      if (message.event().has_started()) {
        Complete(request.request(), *message.mutable_event()->mutable_started());
      }
      if (script.tamper) {
        rpc::LetAnotherPoll();  // it may wait for others
        script.tamper(message);
      }
      if (!Write(message)) return;  // the client has cancelled meanwhile
    }
    if (!script.stays_open) Finish(script.end);
  }

  static void Complete(const v1::GenerateRequest& request, v1::Started& started) {
    started.set_seed(request.seed());
    if (request.has_max_tokens()) started.mutable_limits()->set_max_tokens(request.max_tokens());
  }

  FakeWorker& worker_;
  Call call_;
  std::int64_t next_seq_ = 0;
};

class FakeWorker::Watch final : public rpc::ServerCall {
 public:
  explicit Watch(FakeWorker& worker) : ServerCall(kCapacity), worker_(worker) {}

 private:
  void OnMessage(grpc::ByteBuffer /*bytes*/) override {
    MutexLock lock(worker_.mu_);
    Write(worker_.status_);
    worker_.watches_.insert(Self());
    ++worker_.num_watches_;
    worker_.changed_.NotifyAll();
  }
  void OnEnded() override {
    MutexLock lock(worker_.mu_);
    worker_.watches_.erase(Self());
  }
  std::shared_ptr<Watch> Self() { return std::static_pointer_cast<Watch>(shared_from_this()); }

  FakeWorker& worker_;
};

class FakeWorker::AnswerNowCall final : public rpc::ServerCall {
 public:
  AnswerNowCall(FakeWorker& worker, const grpc::CallbackServerContext& context)
      : ServerCall(1), worker_(worker) {
    asked_.tenant = rpc::TenantOfPeer(context);
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    CHECK(rpc::ParseRequest(bytes, asked_.request).ok(), "the router sends valid requests");
    const auto answer = worker_.Answer(asked_);
    if (answer.ok()) Write(*answer);
    Finish(answer.status());
  }

  FakeWorker& worker_;
  AnswerNow asked_;
};

class FakeWorker::Service final : public rpc::RawService {
 public:
  explicit Service(FakeWorker& worker) {
    const std::string service = v1::WorkerService::service_full_name();
    AddMethod(service, "Generate", [&worker](const grpc::CallbackServerContext& context) {
      return std::make_shared<Generation>(worker, context);
    });
    AddMethod(service, "WatchStatus", [&worker](const grpc::CallbackServerContext& /*context*/) {
      return std::make_shared<Watch>(worker);
    });
    AddMethod(service, "AnswerNow", [&worker](const grpc::CallbackServerContext& context) {
      return std::make_shared<AnswerNowCall>(worker, context);
    });
    AddMethodOfOneAnswer(service, "CountTokens", [&worker](const grpc::ByteBuffer& bytes) {
      const absl::Status end = worker.BeginCount();
      return end.ok() ? CountTokens(bytes) : end;
    });
  }

 private:
  // A token for each byte of the text.
  static absl::StatusOr<grpc::ByteBuffer> CountTokens(const grpc::ByteBuffer& bytes) {
    v1::WorkerCountTokensRequest request;
    CHECK(rpc::ParseRequest(bytes, request).ok(), "the router sends valid requests");
    v1::WorkerCountTokensResponse count;
    const std::string& text = request.request().prompt().text();
    count.set_prompt_tokens(static_cast<int>(text.size()));
    for (const char c : text) {
      if (request.request().return_token_ids()) count.add_token_ids(c);
    }
    count.set_max_model_len(kContext);
    return rpc::Serialize(count);
  }
};

FakeWorker::FakeWorker(const std::string& served_model_name)
    : calls_(std::make_unique<rpc::OpenCalls>(Limits())),
      service_(std::make_unique<Service>(*this)) {
  {
    MutexLock lock(mu_);
    status_.set_served_model_name(served_model_name);
    status_.set_fingerprint("fake");
    status_.set_max_model_len(kContext);
    status_.set_vocab_size(kVocabSize);
    status_.set_max_num_seqs(16);
    status_.set_request_revision(rpc::kRequestRevision);
    status_.set_total_kv_blocks(100);
    status_.set_free_kv_blocks(100);
  }
  service_->Attach(*calls_);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  // As a worker's: else gRPC ends the connection of a router that pings for ten seconds.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             rpc::kMinReceivedPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.RegisterService(service_.get());
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr, "a free port can be had");
}

FakeWorker::~FakeWorker() { Kill(); }

std::string FakeWorker::address() const { return absl::StrCat("127.0.0.1:", port_); }

void FakeWorker::SetScript(Script script) {
  MutexLock lock(mu_);
  script_ = std::move(script);
}

void FakeWorker::SetStatus(const std::function<void(v1::WatchStatusResponse&)>& change) {
  MutexLock lock(mu_);
  change(status_);
  for (const auto& watch : watches_) watch->Write(status_);
}

void FakeWorker::Say(const v1::GenerateResponse& event) {
  MutexLock lock(mu_);
  for (const auto& generation : generations_) generation->Say(event);
}

void FakeWorker::EndWatches() {
  MutexLock lock(mu_);
  for (const auto& watch : watches_) watch->Finish(absl::UnavailableError("restarting"));
}

bool FakeWorker::WaitUntil(const std::function<bool()>& holds) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  MutexLock lock(mu_);
  while (!holds()) {
    if (std::chrono::steady_clock::now() >= give_up) return false;
    changed_.WaitFor(mu_, std::chrono::seconds(1));
  }
  return true;
}

bool FakeWorker::WaitForCalls(int number) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return num_calls_ >= number; });
}
bool FakeWorker::WaitForCancels(int number) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return num_cancels_ >= number; });
}
bool FakeWorker::WaitForProbes(int number) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return num_probes_ >= number; });
}
bool FakeWorker::WaitForWatches(int number) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return num_watches_ >= number; });
}

bool FakeWorker::WaitForAnswersNow(std::size_t number) {
  return WaitUntil([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return answers_now_.size() >= number; });
}

FakeWorker::Call FakeWorker::last_call() const {
  MutexLock lock(mu_);
  CHECK(last_call_.has_value(), "there was a call");
  return *last_call_;
}

int FakeWorker::num_counts() const {
  MutexLock lock(mu_);
  return num_counts_;
}

int FakeWorker::num_probes() const {
  MutexLock lock(mu_);
  return num_probes_;
}

absl::Status FakeWorker::BeginCount() {
  MutexLock lock(mu_);
  ++num_counts_;
  return script_.count_end;
}

absl::StatusOr<v1::WorkerAnswerNowResponse> FakeWorker::Answer(const AnswerNow& asked) {
  MutexLock lock(mu_);
  answers_now_.push_back(asked);
  changed_.NotifyAll();
  if (!script_.answer_now_end.ok()) return script_.answer_now_end;
  v1::WorkerAnswerNowResponse answer;
  answer.set_outputs(1);
  for (const auto& generation : generations_) {
    if (generation->Is(asked)) return answer;
  }
  return rpc::Error(absl::StatusCode::kNotFound, "REQUEST_NOT_FOUND", "it does not run here");
}

std::vector<FakeWorker::AnswerNow> FakeWorker::answers_now() const {
  MutexLock lock(mu_);
  return answers_now_;
}

int FakeWorker::num_calls() const {
  MutexLock lock(mu_);
  return num_calls_;
}

void FakeWorker::Kill() {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  calls_->WaitUntilNone();
  server_.reset();
}

std::vector<v1::GenerateResponse> SmallStream() {
  std::vector<v1::GenerateResponse> events(7);
  events[0].mutable_queued()->set_position(0);
  auto* started = events[1].mutable_started();
  started->set_prompt_tokens(3);
  started->set_fingerprint("fake");
  started->set_first_phase(v1::PHASE_REASONING);
  started->mutable_limits()->set_max_tokens(1000);
  started->mutable_limits()->set_max_model_len(kContext);
  started->mutable_limits()->set_vocab_size(kVocabSize);
  events[2].mutable_reasoning_delta()->set_text("So 2.");
  events[2].mutable_reasoning_delta()->add_token_ids(10);
  events[2].mutable_reasoning_delta()->add_token_ids(11);
  events[3].mutable_reasoning_finished()->set_cause(v1::REASONING_FINISH_CAUSE_MODEL);
  events[3].mutable_reasoning_finished()->set_reasoning_tokens(3);
  events[3].mutable_reasoning_finished()->add_token_ids(12);
  events[4].mutable_answer_delta()->set_text("2");
  events[4].mutable_answer_delta()->add_token_ids(20);
  events[5].mutable_finished()->set_reason(v1::FINISH_REASON_END);
  events[5].mutable_finished()->set_phase(v1::PHASE_ANSWER);
  events[5].mutable_finished()->add_token_ids(21);
  events[5].mutable_finished()->mutable_tokens()->set_reasoning_tokens(3);
  events[5].mutable_finished()->mutable_tokens()->set_answer_tokens(2);
  auto* usage = events[6].mutable_completed()->mutable_usage();
  usage->set_prompt_tokens(3);
  usage->set_reasoning_tokens(3);
  usage->set_answer_tokens(2);
  usage->set_discarded_tokens(1);
  return events;
}

}  // namespace thinkwire
