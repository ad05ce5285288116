#include "tests/bench/relay_load.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/client_callback.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "tests/bench/relay_worker.h"
#include "tests/bench/statistics.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::bench {
namespace {

constexpr std::size_t kStampBytes = 8;
constexpr std::int64_t kAgesEvery = 16;  // of the tokens one's age is kept

// What came while it was counted.
struct Counts {
  std::atomic<bool> counting = false;
  std::atomic<std::int64_t> messages = 0;
  std::atomic<std::int64_t> tokens = 0;
  std::atomic<std::int64_t> failures = 0;
};

class Reader final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  // `lags`: reads only when it is told to.
  Reader(Counts& counts, std::shared_ptr<grpc::Channel> channel, bool lags)
      : counts_(counts), stub_(std::move(channel)), lags_(lags) {
    request_.set_variant("relay");
    request_.mutable_prompt()->mutable_token_ids()->add_ids(1);
    request_.set_seed(7);
  }

  void Start() {
    stub_.async()->Generate(&context_, &request_, this);
    if (lags_) AddHold();  // ReadNext reads from outside gRPC's reactions
    StartRead(&event_);
    StartCall();
  }
  void Cancel() {
    context_.TryCancel();
    ReadNext();
  }
  void ReadNext() {
    {
      MutexLock lock(mu_);
      if (!std::exchange(rests_, false)) return;
    }
    StartRead(&event_);
  }
  void Wait() {
    MutexLock lock(mu_);
    while (!done_) changed_.WaitFor(mu_, std::chrono::seconds(1));
  }
  // Ages of tokens in microseconds. REQUIRES: Wait has returned.
  const std::vector<double>& ages() const { return ages_; }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) {
      if (lags_) RemoveHold();
      return;
    }
    if (event_.has_answer_delta()) Count(event_.answer_delta());
    if (!lags_) return StartRead(&event_);
    MutexLock lock(mu_);
    rests_ = true;
  }

  void Count(const v1::AnswerDelta& delta) {
    for (const std::int32_t id : delta.token_ids()) {
      if (id != tokens_++ * 7919 % 151'936) ++counts_.failures;
    }
    const bool whole =
        delta.text().size() == kStampBytes * static_cast<std::size_t>(delta.token_ids_size());
    if (!whole) ++counts_.failures;
    if (!whole || !counts_.counting.load(std::memory_order_relaxed)) return;
    counts_.messages.fetch_add(1, std::memory_order_relaxed);
    counts_.tokens.fetch_add(delta.token_ids_size(), std::memory_order_relaxed);
    for (std::size_t at = 0; at < delta.text().size(); at += kStampBytes) {
      if (++seen_ % kAgesEvery == 0) ages_.push_back(RelayAge(delta.text().data() + at));
    }
  }

  void OnDone(const grpc::Status& status) override {
    if (status.error_code() != grpc::StatusCode::CANCELLED) {
      ++counts_.failures;
      std::fprintf(stderr, "a stream ended: %s\n", status.error_message().c_str());
    }
    MutexLock lock(mu_);
    done_ = true;
    changed_.NotifyAll();
  }

  Counts& counts_;
  v1::ReasoningService::Stub stub_;
  const bool lags_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateResponse event_;
  std::int64_t tokens_ = 0;
  std::int64_t seen_ = 0;
  std::vector<double> ages_;
  Mutex mu_;
  CondVar changed_;
  bool rests_ ABSL_GUARDED_BY(mu_) = false;  // no read is under way
  bool done_ ABSL_GUARDED_BY(mu_) = false;
};

// Of all threads, those that have ended too.
double CpuSecondsOf(std::int32_t pid) {
  clockid_t clock = 0;
  timespec time = {};
  if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
    return 0;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::vector<std::shared_ptr<grpc::Channel>> Connect(const RelayLoadOptions& options) {
  std::vector<std::shared_ptr<grpc::Channel>> channels;
  for (int i = 0; i < options.connections; ++i) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // what a reader that lags is sent is bounded
    channels.push_back(
        grpc::CreateCustomChannel(options.target, grpc::InsecureChannelCredentials(), arguments));
  }
  return channels;
}

void Print(const Counts& counts, double cpu, double seconds,
           const std::vector<std::unique_ptr<Reader>>& readers) {
  std::vector<double> ages;
  for (const auto& reader : readers) {
    ages.insert(ages.end(), reader->ages().begin(), reader->ages().end());
  }
  if (ages.empty()) ages.push_back(0);
  const double messages = std::max(1.0, static_cast<double>(counts.messages));
  const double tokens = std::max(1.0, static_cast<double>(counts.tokens));
  std::printf(
      "{\"messages_per_s\": %.0f, \"tokens_per_s\": %.0f, \"us_per_message\": %.3f, "
      "\"us_per_token\": %.3f, \"cores\": %.3f, \"age_p50_us\": %.0f, "
      "\"age_p99_us\": %.0f, \"failures\": %lld}\n",
      messages / seconds, tokens / seconds, 1e6 * cpu / messages, 1e6 * cpu / tokens, cpu / seconds,
      Quantile(ages, 0.5), Quantile(ages, 0.99), static_cast<long long>(counts.failures));
}

// Has the readers that lag read on now and then.
void Wait(const RelayLoadOptions& options, std::int32_t seconds,
          const std::vector<std::unique_ptr<Reader>>& readers) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  const auto step = std::chrono::milliseconds(options.rest_ms);
  for (auto at = std::chrono::steady_clock::now(); step.count() > 0 && at + step < end;
       at += step) {
    std::this_thread::sleep_until(at + step);
    for (const auto& reader : readers) reader->ReadNext();
  }
  std::this_thread::sleep_until(end);
}

}  // namespace

int RunRelayLoad(const RelayLoadOptions& options) {
  const auto channels = Connect(options);
  Counts counts;
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < options.streams; ++i) {
    readers.push_back(std::make_unique<Reader>(
        counts, channels[static_cast<std::size_t>(i) % channels.size()], options.rest_ms > 0));
    readers.back()->Start();
  }
  Wait(options, options.warmup_s, readers);
  const auto begin = std::chrono::steady_clock::now();
  const double cpu_before = CpuSecondsOf(options.pid);
  counts.counting = true;
  Wait(options, options.seconds, readers);
  counts.counting = false;
  const double cpu = CpuSecondsOf(options.pid) - cpu_before;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  for (const auto& reader : readers) reader->Cancel();
  for (const auto& reader : readers) reader->Wait();
  Print(counts, cpu, seconds.count(), readers);
  return counts.failures == 0 && counts.messages > 0 ? 0 : 1;
}

}  // namespace thinkwire::bench
