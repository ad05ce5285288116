#include "tests/bench/relay_worker.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/mutex.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::bench {
namespace {

constexpr std::size_t kCapacity = 64;
constexpr std::int32_t kContext = 1 << 20;
constexpr std::int32_t kMaxTokens = 1'000'000;
constexpr std::int32_t kVocabSize = 151'936;
constexpr std::chrono::milliseconds kStatusInterval{500};

std::uint32_t NowUs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

std::int32_t MaxTokens(const v1::GenerateRequest& request) {
  return request.has_max_tokens() ? request.max_tokens() : kMaxTokens;
}

void FillStarted(const v1::GenerateRequest& request, v1::Started& started) {
  started.set_prompt_tokens(1);
  started.set_seed(request.seed());
  started.set_fingerprint("relay");
  started.set_first_phase(v1::PHASE_ANSWER);
  started.mutable_limits()->set_max_tokens(MaxTokens(request));
  started.mutable_limits()->set_max_model_len(kContext);
  started.mutable_limits()->set_vocab_size(kVocabSize);
}

class RelayService;

// One call of either Generate. Threads: one at a time gives it tokens.
class Stream final : public rpc::ServerCall {
 public:
  enum class As { kWorker, kRouter };
  Stream(RelayService& service, As as) : ServerCall(kCapacity), service_(service), as_(as) {}

  // False: it is full, or over.
  bool GiveToken() {
    if (tokens_ == max_tokens_) return false;
    auto& delta = *message_.mutable_event()->mutable_answer_delta();
    delta.set_text(RelayStamp());
    delta.clear_token_ids();
    delta.add_token_ids(static_cast<std::int32_t>(std::int64_t{tokens_} * 7919 % kVocabSize));
    if (!Give()) return false;
    if (++tokens_ == max_tokens_) GiveEnd();
    return true;
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override;
  void OnDrained() override;
  void OnEnded() override;
  std::shared_ptr<Stream> Self() { return std::static_pointer_cast<Stream>(shared_from_this()); }

  bool Give() {
    if (as_ == As::kRouter) return Write(message_.event());
    if (!Write(message_)) return false;
    message_.set_seq(message_.seq() + 1);
    message_.clear_prompt_ids();
    return true;
  }

  // Of the router's probes, which want one token.
  void GiveEnd() {
    auto& finished = *message_.mutable_event()->mutable_finished();
    finished.set_reason(v1::FINISH_REASON_LENGTH);
    finished.set_phase(v1::PHASE_ANSWER);
    finished.mutable_tokens()->set_answer_tokens(tokens_);
    Give();
    auto& usage = *message_.mutable_event()->mutable_completed()->mutable_usage();
    usage.set_prompt_tokens(1);
    usage.set_answer_tokens(tokens_);
    Give();
    Finish(absl::OkStatus());
  }

  RelayService& service_;
  const As as_;
  v1::WorkerGenerateResponse message_;  // the next
  std::int32_t max_tokens_ = 0;
  std::int32_t tokens_ = 0;
};

class Watch final : public rpc::ServerCall {
 public:
  explicit Watch(RelayService& service) : ServerCall(kCapacity), service_(service) {}
  void Tell() {
    v1::WatchStatusResponse status;
    status.set_served_model_name("relay");
    status.set_fingerprint("relay");
    status.set_max_model_len(kContext);
    status.set_vocab_size(kVocabSize);
    status.set_max_num_seqs(4096);
    status.set_total_kv_blocks(1000);
    status.set_free_kv_blocks(1000);
    Write(status);
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override;
  void OnEnded() override;
  std::shared_ptr<Watch> Self() { return std::static_pointer_cast<Watch>(shared_from_this()); }

  RelayService& service_;
};

// Owns: who is spoken to. Threads: any.
class RelayService final : public rpc::RawService {
 public:
  explicit RelayService(const RelayWorkerOptions& options) : options_(options) {
    const std::string worker = v1::WorkerService::service_full_name();
    AddMethod(worker, "Generate", [this](const grpc::CallbackServerContext& /*context*/) {
      return std::make_shared<Stream>(*this, Stream::As::kWorker);
    });
    AddMethod(worker, "WatchStatus", [this](const grpc::CallbackServerContext& /*context*/) {
      return std::make_shared<Watch>(*this);
    });
    AddMethod(v1::ReasoningService::service_full_name(), "Generate",
              [this](const grpc::CallbackServerContext& /*context*/) {
                return std::make_shared<Stream>(*this, Stream::As::kRouter);
              });
  }

  bool is_paced() const { return options_.rate > 0; }
  void Enter(std::shared_ptr<Stream> stream) {
    MutexLock lock(mu_);
    streams_.insert(std::move(stream));
  }
  void Leave(const std::shared_ptr<Stream>& stream) {
    MutexLock lock(mu_);
    streams_.erase(stream);
  }
  void Enter(std::shared_ptr<Watch> watch) {
    MutexLock lock(mu_);
    watches_.insert(std::move(watch));
  }
  void Leave(const std::shared_ptr<Watch>& watch) {
    MutexLock lock(mu_);
    watches_.erase(watch);
  }

  // A token for every stream, `spread` over that time.
  void Step(std::chrono::steady_clock::time_point begin, std::chrono::nanoseconds spread) {
    const std::vector<std::shared_ptr<Stream>> streams = Streams();
    for (std::size_t i = 0; i < streams.size(); ++i) {
      if (spread.count() > 0) {
        const auto share = static_cast<std::int64_t>(i) / static_cast<double>(streams.size());
        std::this_thread::sleep_until(
            begin + std::chrono::duration_cast<std::chrono::nanoseconds>(spread * share));
      }
      streams[i]->GiveToken();
    }
  }
  void TellAll() {
    MutexLock lock(mu_);
    for (const auto& watch : watches_) watch->Tell();
  }
  const RelayWorkerOptions& options() const { return options_; }

 private:
  std::vector<std::shared_ptr<Stream>> Streams() {
    MutexLock lock(mu_);
    return {streams_.begin(), streams_.end()};
  }

  const RelayWorkerOptions options_;
  Mutex mu_;
  std::set<std::shared_ptr<Stream>> streams_ ABSL_GUARDED_BY(mu_);
  std::set<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mu_);
};

void Stream::OnMessage(grpc::ByteBuffer bytes) {
  v1::WorkerGenerateRequest request;
  absl::Status status = as_ == As::kWorker ? rpc::ParseRequest(bytes, request)
                                           : rpc::ParseRequest(bytes, *request.mutable_request());
  if (!status.ok()) return Finish(std::move(status));
  max_tokens_ = MaxTokens(request.request());
  message_.set_attempt(request.attempt());
  message_.mutable_prompt_ids()->add_ids(1);
  FillStarted(request.request(), *message_.mutable_event()->mutable_started());
  Give();
  if (service_.is_paced()) return service_.Enter(Self());
  OnDrained();
}

void Stream::OnDrained() {
  while (!service_.is_paced() && GiveToken()) {
  }
}

void Stream::OnEnded() { service_.Leave(Self()); }

void Watch::OnMessage(grpc::ByteBuffer /*bytes*/) {
  Tell();
  service_.Enter(Self());
}

void Watch::OnEnded() { service_.Leave(Self()); }

volatile std::sig_atomic_t stop = 0;

void Pace(RelayService& service) {
  const std::int32_t rate = service.options().rate;
  const std::chrono::nanoseconds step = rate > 0 ? std::chrono::nanoseconds(1'000'000'000 / rate)
                                                 : std::chrono::nanoseconds(kStatusInterval);
  auto begin = std::chrono::steady_clock::now();
  auto told = begin;
  while (stop == 0) {
    begin += step;
    std::this_thread::sleep_until(begin);
    if (rate > 0)
      service.Step(begin, service.options().together ? std::chrono::nanoseconds(0) : step);
    if (begin - told < kStatusInterval) continue;
    told = begin;
    service.TellAll();
  }
}

}  // namespace

std::string RelayStamp() {
  char text[9];
  std::snprintf(text, sizeof(text), "%08x", NowUs());
  return text;
}

std::uint32_t RelayAge(const char* stamp) {
  const std::string text(stamp, 8);
  return NowUs() - static_cast<std::uint32_t>(std::stoul(text, nullptr, 16));
}

int RunRelayWorker(const RelayWorkerOptions& options) {
  std::signal(SIGTERM, [](int) { stop = 1; });
  std::signal(SIGINT, [](int) { stop = 1; });
  RelayService service(options);
  rpc::GrpcServerOptions server_options{.listen = options.listen, .services = {&service}};
  const auto server = rpc::GrpcServer::Start(server_options);
  if (!server.ok()) {
    LogError("cannot listen", {{"error", server.status().ToString()}});
    return 1;
  }
  (*server)->SetServing(true);
  LogInfo("listening", {{"port", (*server)->port()}});
  Pace(service);
  (*server)->Shutdown(Clock::Duration::zero());
  return 0;
}

}  // namespace thinkwire::bench
