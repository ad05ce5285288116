#include "worker/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/status.h"
#include "worker/engine/mask_pool.h"
#include "worker/engine/request_check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

constexpr Clock::Duration kPricesInterval = std::chrono::seconds(10);
constexpr int kMaskThreads = 2;
// How long a plan waits for masks, as whose mask is missing sits a whole step out: most take some
// 10 us, hardly any longer than this.
constexpr std::chrono::microseconds kMaskPatience(200);

}  // namespace

// The engine thread and its inbox. Each turn takes the inbox, ends what has expired, keeps the
// runner at max_in_flight plans and takes one result; without any plan it waits for the inbox or
// the next expiry.
class Engine::Loop {
 public:
  Loop(const EngineConfig& config, step::Runner& runner, const Clock& clock);

  absl::StatusOr<std::vector<RequestHandle>> SubmitTogether(std::vector<Engine::Arrival> arrivals);
  void End(RequestHandle handle, EndReason reason);
  void AnswerNow(RequestHandle handle);
  void Wake();
  EngineStatus status() const;
  EnginePulse pulse() const;
  void Stop();

 private:
  struct Entry {
    RequestHandle handle = 0;
    Request request;
    std::int32_t max_tokens = 0;
    std::shared_ptr<TokenStream> stream;
  };
  struct Departure {
    RequestHandle handle = 0;
    EndReason reason = EndReason::kCancelled;
  };
  struct Inbox {
    std::vector<Entry> arrivals;
    std::vector<Departure> departures;
    std::vector<RequestHandle> answers_now;
    bool wake = false;
    bool stop = false;
    bool empty() const {
      return arrivals.empty() && departures.empty() && answers_now.empty() && !wake && !stop;
    }
  };

  absl::Status CheckRoom(std::size_t arrivals) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Run();
  bool TakeInbox();  // false once stopped
  void KeepRunnerBusy(Clock::TimePoint now);
  void CollectStep();
  void WaitForInbox();
  void PublishStatus();
  void TellPrices(Clock::TimePoint now);  // in the log, every kPricesInterval
  void Shutdown();

  // Constant after construction.
  const EngineConfig config_;
  step::Runner& runner_;
  const Clock& clock_;
  const step::Limits limits_;

  // Engine thread only.
  Scheduler scheduler_;
  std::optional<Clock::TimePoint> prices_told_;

  // Written by the engine thread alone, read by any.
  std::atomic<EnginePulse::Doing> doing_ = EnginePulse::kWaiting;
  std::atomic<std::uint64_t> turns_ = 0;
  std::atomic<std::uint64_t> steps_ = 0;  // collected

  mutable Mutex mu_;
  CondVar inbox_filled_;
  Inbox inbox_ ABSL_GUARDED_BY(mu_);
  EngineStatus status_ ABSL_GUARDED_BY(mu_);  // queued counts the inbox too
  std::int32_t free_slots_ ABSL_GUARDED_BY(mu_);
  RequestHandle last_handle_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  Mutex join_mu_;  // before mu_
  std::thread thread_ ABSL_GUARDED_BY(join_mu_);

  MaskPool mask_pool_;  // the last, as its threads wake the loop
};

Engine::Loop::Loop(const EngineConfig& config, step::Runner& runner, const Clock& clock)
    : config_(config),
      runner_(runner),
      clock_(clock),
      limits_(runner.limits()),
      scheduler_(
          {.end_of_sequence_ids = config.end_of_sequence_ids,
           .slow_reader_timeout = config.slow_reader_timeout,
           .enable_prefix_caching = config.enable_prefix_caching,
           .max_parked = static_cast<std::size_t>(config.max_queue),
           .post_mask_work =
               [this](std::function<void()> work) { return mask_pool_.TryPost(std::move(work)); }},
          limits_),
      free_slots_(limits_.max_num_seqs),
      mask_pool_(kMaskThreads, 2 * static_cast<std::size_t>(limits_.max_num_seqs),
                 [this] { Wake(); }) {
  CHECK(config_.max_queue >= 1, "the queue holds at least one request");
  PublishStatus();
  MutexLock lock(join_mu_);
  thread_ = std::thread([this] { Run(); });
}

absl::StatusOr<std::vector<RequestHandle>> Engine::Loop::SubmitTogether(
    std::vector<Engine::Arrival> arrivals) {
  std::vector<Entry> entries;
  for (Engine::Arrival& arrival : arrivals) {
    CHECK(arrival.stream != nullptr, "tokens go somewhere");
    ASSIGN_OR_RETURN(const std::int32_t max_tokens, CheckRequest(arrival.request, limits_));
    entries.push_back({.request = std::move(arrival.request),
                       .max_tokens = max_tokens,
                       .stream = std::move(arrival.stream)});
  }
  MutexLock lock(mu_);
  RETURN_IF_ERROR(CheckRoom(entries.size()));
  const RequestHandle prompt_of = entries.size() > 1 ? last_handle_ + 1 : 0;
  std::vector<RequestHandle> handles;
  for (Entry& entry : entries) {
    handles.push_back(entry.handle = ++last_handle_);
    entry.request.prompt_of = prompt_of;
    inbox_.arrivals.push_back(std::move(entry));
    ++status_.queued;
  }
  inbox_filled_.NotifyOne();
  return handles;
}

absl::Status Engine::Loop::CheckRoom(std::size_t arrivals) const {
  if (stopped_) return absl::UnavailableError("the worker is shutting down");
  // A free slot's request waits only until the engine thread looks.
  const std::int32_t waiting = status_.queued - free_slots_;
  if (waiting + static_cast<std::int32_t>(arrivals) <= config_.max_queue) return absl::OkStatus();
  const std::string outputs = arrivals > 1 ? absl::StrCat(", ", arrivals, " outputs come") : "";
  return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", std::max(0, waiting),
                                                   " requests wait", outputs, ", the limit is ",
                                                   config_.max_queue));
}

void Engine::Loop::End(RequestHandle handle, EndReason reason) {
  MutexLock lock(mu_);
  if (stopped_) return;
  inbox_.departures.push_back({.handle = handle, .reason = reason});
  inbox_filled_.NotifyOne();
}

void Engine::Loop::AnswerNow(RequestHandle handle) {
  MutexLock lock(mu_);
  if (stopped_) return;
  inbox_.answers_now.push_back(handle);
  inbox_filled_.NotifyOne();
}

void Engine::Loop::Wake() {
  MutexLock lock(mu_);
  inbox_.wake = true;
  inbox_filled_.NotifyOne();
}

EngineStatus Engine::Loop::status() const {
  MutexLock lock(mu_);
  return status_;
}

EnginePulse Engine::Loop::pulse() const {
  return {.doing = doing_, .turns = turns_, .collected = steps_, .ranks = runner_.beats()};
}

void Engine::Loop::Stop() {
  MutexLock join_lock(join_mu_);
  {
    MutexLock lock(mu_);
    stopped_ = true;
    inbox_.stop = true;
    inbox_filled_.NotifyOne();
  }
  if (thread_.joinable()) thread_.join();
}

void Engine::Loop::Run() {
  while (TakeInbox()) {
    const Clock::TimePoint now = clock_.Now();
    scheduler_.Expire(now);
    mask_pool_.WaitUntilIdle(kMaskPatience);
    KeepRunnerBusy(now);
    scheduler_.ReportQueue(now);
    PublishStatus();
    TellPrices(now);
    if (scheduler_.steps_in_flight() > 0) {
      CollectStep();
    } else {
      WaitForInbox();
    }
  }
  Shutdown();
}

bool Engine::Loop::TakeInbox() {
  doing_ = EnginePulse::kTurning;
  ++turns_;
  Inbox inbox;
  {
    MutexLock lock(mu_);
    std::swap(inbox, inbox_);
  }
  for (Entry& arrival : inbox.arrivals) {
    scheduler_.Add(arrival.handle, std::move(arrival.request), arrival.max_tokens,
                   std::move(arrival.stream));
  }
  for (const Departure& departure : inbox.departures) {
    scheduler_.End(departure.handle, departure.reason);
  }
  for (const RequestHandle handle : inbox.answers_now) scheduler_.AnswerNow(handle);
  return !inbox.stop;
}

void Engine::Loop::KeepRunnerBusy(Clock::TimePoint now) {
  while (scheduler_.steps_in_flight() < limits_.max_in_flight) {
    step::Plan plan = scheduler_.Plan(now);
    if (plan.rows.empty()) return;
    runner_.Submit(std::move(plan));
  }
}

void Engine::Loop::CollectStep() {
  doing_ = EnginePulse::kCollecting;
  const step::Result result = runner_.Collect();
  doing_ = EnginePulse::kTurning;
  scheduler_.Apply(result, clock_.Now());
  ++steps_;
}

void Engine::Loop::WaitForInbox() {
  const std::optional<Clock::TimePoint> expiry = scheduler_.NextExpiry();
  MutexLock lock(mu_);
  doing_ = EnginePulse::kWaiting;
  while (inbox_.empty()) {
    if (!expiry) {
      inbox_filled_.Wait(mu_);
      continue;
    }
    const Clock::Duration left = *expiry - clock_.Now();
    if (left <= Clock::Duration::zero()) return;
    // Bounded, as a deadline of centuries would overflow the wait.
    inbox_filled_.WaitFor(mu_, std::min<Clock::Duration>(left, std::chrono::hours(1)));
  }
}

void Engine::Loop::PublishStatus() {
  MutexLock lock(mu_);
  status_ = {.queued = scheduler_.queued() + static_cast<std::int32_t>(inbox_.arrivals.size()),
             .running = scheduler_.running(),
             .paused = scheduler_.paused(),
             .parked = scheduler_.parked(),
             .free_blocks = scheduler_.pool().free(),
             .cached_blocks = scheduler_.pool().kept(),
             .total_blocks = scheduler_.pool().total(),
             .steps = steps_,
             .preemptions = scheduler_.preemptions(),
             .recomputed_tokens = scheduler_.recomputed_tokens(),
             .masked_draws = scheduler_.masked_draws(),
             .rows_without_mask = scheduler_.rows_without_mask(),
             .prefix_use = scheduler_.prefix_use()};
  free_slots_ = scheduler_.free_slots();
}

void Engine::Loop::TellPrices(Clock::TimePoint now) {
  if (prices_told_ && now - *prices_told_ < kPricesInterval) return;
  const StepCost& cost = scheduler_.time_share().cost();
  if (!cost.known()) return;
  prices_told_ = now;
  const StepCost::Prices prices = cost.prices();
  LogDebug("what steps cost", {{"base_us", 1e6 * prices.base},
                               {"row_us", 1e6 * prices.row},
                               {"input_us", 1e6 * prices.input},
                               {"position_us", 1e6 * prices.position},
                               {"rows_held_back", scheduler_.rows_held_back()}});
}

void Engine::Loop::Shutdown() {
  scheduler_.EndAll(EndReason::kShutdown);
  while (scheduler_.steps_in_flight() > 0) CollectStep();
  PublishStatus();
  doing_ = EnginePulse::kWaiting;
}

Engine::Engine(const EngineConfig& config, step::Runner& runner, const Clock& clock)
    : loop_(std::make_unique<Loop>(config, runner, clock)) {}

Engine::~Engine() { Stop(); }

absl::StatusOr<RequestHandle> Engine::Submit(Request request, std::shared_ptr<TokenStream> stream) {
  std::vector<Arrival> arrivals;
  arrivals.push_back({.request = std::move(request), .stream = std::move(stream)});
  ASSIGN_OR_RETURN(const std::vector<RequestHandle> handles,
                   loop_->SubmitTogether(std::move(arrivals)));
  return handles.front();
}

absl::StatusOr<std::vector<RequestHandle>> Engine::SubmitTogether(std::vector<Arrival> arrivals) {
  return loop_->SubmitTogether(std::move(arrivals));
}

void Engine::Finish(RequestHandle handle) { loop_->End(handle, EndReason::kFinishedByReader); }

void Engine::Cancel(RequestHandle handle) { loop_->End(handle, EndReason::kCancelled); }

void Engine::AnswerNow(RequestHandle handle) { loop_->AnswerNow(handle); }

void Engine::Wake() { loop_->Wake(); }

EngineStatus Engine::status() const { return loop_->status(); }

EnginePulse Engine::pulse() const { return loop_->pulse(); }

void Engine::Stop() { loop_->Stop(); }

}  // namespace thinkwire::worker::engine
