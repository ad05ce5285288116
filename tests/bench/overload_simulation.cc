#include "tests/bench/overload_simulation.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "router/admission/dispatch_queue.h"
#include "router/admission/turns.h"
#include "router/decision/completion_estimate.h"
#include "router/decision/experience.h"
#include "router/decision/score_policy.h"
#include "router/fleet/placement.h"
#include "router/fleet/roster.h"
#include "tests/bench/output_lengths.h"
#include "tests/bench/simulated_worker.h"
#include "tests/bench/statistics.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::bench {
namespace {

using router::admission::DispatchQueue;
using router::admission::FairQueue;
using router::decision::Query;
using RequestPtr = std::shared_ptr<SimulatedRequest>;

constexpr std::int32_t kWorkerQueue = 256;
constexpr double kBytesOfToken = 4;
constexpr double kFifths = 5;
constexpr double kHasteSeconds = 0.5;  // that a speed lasts
constexpr double kLimitedPrompt = 32;  // tokens, of requests with a limit
constexpr char kVariant[] = "llama-8b";
constexpr double kMinMeasuredTokens = 256;  // of a prompt, for the worker's rate

std::vector<router::VariantConfig> Variants() {
  return {{.name = kVariant, .workers = {}, .traits = router::KnownTraits(kVariant)}};
}

// What is counted of a tenant.
struct Tally {
  TenantOutcome outcome;
  std::vector<double> totals;
  std::vector<double> refusals;
  std::int64_t last_arrived = 0;
  std::int64_t last_in_time = 0;
};

class Simulation {
 public:
  explicit Simulation(const OverloadLoad& load)
      : load_(load),
        random_(load.seed),
        workers_(load.workers),
        next_s_{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()},
        asks_s_(std::max<std::size_t>(load.clients, 1)) {
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      workers_[i].speed = load.speed;
      roster_.Add(0, "w" + std::to_string(i), clock_.Now());
      Report(i);
    }
    if (load.clients > 0) return;
    for (std::size_t tenant = 0; tenant < 2; ++tenant) next_s_[tenant] = DrawGap(tenant);
  }

  OverloadOutcome Run() {
    while (now_s_ < load_.seconds || num_open_ > 0) Tick();
    return Summarize();
  }

  // Its turn may have come.
  bool Dispatch(SimulatedRequest& request) {
    Query query = QueryOf(request);
    std::size_t num_full = 0;
    auto placement = router::fleet::FindPlace(
        policy_, experience_.views(),
        router::admission::TurnsOfFirst(queue_, NameOf(request.tenant), variant_), clock_.Now(),
        roster_, query, num_full);
    if (!placement.ok()) return Refuse(request, 0), true;
    const double left_s = LongestWait(query, placement->decision).value_or(0);
    if (left_s < 0) return Refuse(request, -left_s), true;
    if (!placement->place) return false;
    request.running = queue_.Go(request.ticket);
    Give(request, placement->place->worker);
    return true;
  }

 private:
  const std::string& NameOf(std::size_t tenant) const { return names_[tenant]; }
  bool IsIn(double s, int fifth) const {
    return s >= load_.seconds * fifth / kFifths && s < load_.seconds * (fifth + 1) / kFifths;
  }
  bool Counts(const SimulatedRequest& request) const {
    return request.arrival_s >= load_.seconds / kFifths;
  }

  double DrawGap(std::size_t tenant) {
    const double load = tenant == 0 ? load_.load : load_.flood;
    if (load <= 0) return std::numeric_limits<double>::infinity();
    const double crowd = tenant == 0 && IsIn(now_s_, 2) ? load_.crowd : 1;
    const double rate = load * crowd * CapacityPerSecond();
    return std::exponential_distribution<double>(rate)(random_);
  }

  Query QueryOf(const SimulatedRequest& request) const {
    Query query{.prompt_bytes = static_cast<std::size_t>(kBytesOfToken * request.lengths.prompt),
                .deadline_s = request.deadline_s - now_s_,
                .waited_s = now_s_ - request.arrival_s};
    if (load_.max_tokens > 0) query.max_tokens = load_.max_tokens;
    return query;
  }

  void Tick() {
    clock_.Advance(std::chrono::duration_cast<Clock::Duration>(
        std::chrono::duration<double>(load_.speed.tick_s)));
    now_s_ += load_.speed.tick_s;
    for (std::size_t client = 0; client < load_.clients; ++client) {
      if (now_s_ < load_.seconds && now_s_ >= asks_s_[client]) Ask(client);
    }
    for (std::size_t tenant = 0; tenant < 2; ++tenant) {
      for (; next_s_[tenant] < std::min(now_s_, load_.seconds);) {
        Arrive(tenant);
        next_s_[tenant] += DrawGap(tenant);
      }
    }
    if (load_.speed.noise > 0 && now_s_ >= next_haste_s_) ChangeHaste();
    for (std::size_t i = 0; i < workers_.size(); ++i) Step(i);
    GiveUpWaiting();
    queue_.Tick();
    NoteLoads();
  }

  // The mean of their speeds stays.
  void ChangeHaste() {
    next_haste_s_ += kHasteSeconds;
    const double noise = load_.speed.noise;
    std::lognormal_distribution<double> haste(-noise * noise / 2, noise);
    for (SimulatedWorker& worker : workers_) worker.haste = haste(random_);
  }

  void Ask(std::size_t client) {
    asks_s_[client] = std::numeric_limits<double>::infinity();  // while it waits for an answer
    Arrive(0, client);
  }

  DrawnLengths Draw() {
    DrawnLengths lengths = DrawLengths(random_);
    lengths.reasoning *= load_.longer;
    lengths.answer *= load_.longer;
    if (load_.max_tokens > 0) lengths = {.prompt = kLimitedPrompt, .answer = load_.max_tokens};
    return lengths;
  }

  void Arrive(std::size_t tenant, std::size_t client = 0) {
    const auto request = Make(tenant, Draw());
    request->client = client;
    ++num_open_;
    Tally& tally = tallies_[tenant];
    if (Counts(*request)) ++tally.outcome.arrived;
    if (IsIn(request->arrival_s, 4)) ++tally.last_arrived;
    load_.waits_in_router ? Apply(*request) : SendAtOnce(*request);
  }

  RequestPtr Make(std::size_t tenant, const DrawnLengths& lengths) {
    auto request = std::make_shared<SimulatedRequest>();
    request->dispatch = [this](SimulatedRequest& one) { return Dispatch(one); };
    request->tenant = tenant;
    request->lengths = lengths;
    request->arrival_s = now_s_;
    request->deadline_s = now_s_ + load_.deadline_s;
    request->prompt_left = lengths.prompt;
    request->output_left = lengths.reasoning + lengths.answer;
    return request;
  }

  // As a Generation does.
  void Apply(SimulatedRequest& request) {
    Query query = QueryOf(request);
    std::size_t num_full = 0;
    const auto placement = router::fleet::FindPlace(
        policy_, experience_.views(), router::admission::TurnsOfNew(queue_, NameOf(request.tenant)),
        clock_.Now(), roster_, query, num_full);
    if (!placement.ok()) return Refuse(request, 0);
    const FairQueue::Request turn = {.tenant = NameOf(request.tenant),
                                     .deadline = clock_.Now() + DeadlineOf(request),
                                     .cost = std::max(placement->decision.expected_tokens, 1.0),
                                     .least_cost = placement->decision.prompt_tokens};
    if (placement->place) {
      request.running = queue_.BeginAtOnce(variant_, turn);
      return Give(request, placement->place->worker);
    }
    const std::optional<double> longest_s = LongestWait(query, placement->decision);
    auto entered = queue_.Enter(
        variant_, turn,
        {.expected_pace_s = placement->decision.place_s / static_cast<double>(workers_.size()),
         .longest_wait_s = longest_s},
        request.weak_from_this());
    if (entered.outcome != DispatchQueue::Entered::Outcome::kWaits) {
      return Refuse(request, entered.excess_s);
    }
    request.ticket = std::move(entered.ticket);
    request.waits = true;
    waiting_.push_back(request.shared_from_this());
  }
  Clock::Duration DeadlineOf(const SimulatedRequest& request) const {
    return std::chrono::duration_cast<Clock::Duration>(
        std::chrono::duration<double>(request.deadline_s - now_s_));
  }

  void SendAtOnce(SimulatedRequest& request) {
    Query query = QueryOf(request);
    roster_.PassOver(query, clock_.Now());
    const auto decision =
        policy_.Decide(query, {.workers = roster_.views(), .variants = experience_.views()});
    if (!decision.ok() || workers_[decision->worker].queue.size() >= kWorkerQueue) {
      return Refuse(request, 0);
    }
    Give(request, decision->worker);
  }

  void Give(SimulatedRequest& request, std::size_t worker) {
    request.waits = false;
    roster_.Give(worker);
    workers_[worker].queue.push_back(request.shared_from_this());
  }

  void Step(std::size_t index) {
    SimulatedWorker& worker = workers_[index];
    std::erase_if(worker.queue, [&](const RequestPtr& request) { return IsLate(*request, index); });
    worker.Admit(now_s_, [&] { roster_.Begin(index); });
    worker.Advance(now_s_);
    std::erase_if(worker.running, [&](const RequestPtr& request) {
      if (request->output_left > 0) return IsLate(*request, index);
      Complete(*request, index);
      return true;
    });
    if (now_s_ - worker.reported_s >= load_.report_s) Report(index);
  }

  // Whether its client has given it up.
  bool IsLate(SimulatedRequest& request, std::size_t worker) {
    if (now_s_ < request.deadline_s) return false;
    wasted_tokens_ += request.made();
    LearnPace(request, worker);
    TakeBack(request, worker);
    CountLate(request);
    return true;
  }

  void Complete(SimulatedRequest& request, std::size_t worker) {
    if (now_s_ >= request.deadline_s) wasted_tokens_ += request.made();
    roster_.Succeed(worker);
    Learn(request, worker);
    TakeBack(request, worker);
    if (now_s_ >= request.deadline_s) return CountLate(request);
    End(request);
    Tally& tally = tallies_[request.tenant];
    if (IsIn(request.arrival_s, 4)) ++tally.last_in_time;
    if (!Counts(request)) return;
    ++tally.outcome.in_time;
    tally.totals.push_back(now_s_ - request.arrival_s);
  }

  void Learn(const SimulatedRequest& request, std::size_t worker) {
    if (!load_.learns) return;
    LearnPace(request, worker);
    if (load_.max_tokens > 0) return;  // which says nothing of how long it would have been
    experience_.Learn({.prompt_bytes = kBytesOfToken * request.lengths.prompt,
                       .prompt_tokens = request.lengths.prompt,
                       .reasoning_tokens = request.lengths.reasoning,
                       .answer_tokens = request.lengths.answer});
  }

  // Of one that is cut short, too.
  void LearnPace(const SimulatedRequest& request, std::size_t worker) {
    if (!load_.learns || request.made() < 2) return;
    const double prompt_s = request.first_s - request.begun_s;
    const bool shows_rate = request.lengths.prompt >= kMinMeasuredTokens && prompt_s > 0;
    roster_.LearnPace(worker, (now_s_ - request.first_s) / request.made(),
                      shows_rate ? request.lengths.prompt / prompt_s : 0);
  }

  void TakeBack(SimulatedRequest& request, std::size_t worker) {
    made_tokens_ += request.made();
    roster_.TakeBack(worker, 1, request.begun);
    request.running.Took(request.lengths.prompt - request.prompt_left + request.made());
    request.running = {};
    queue_.Look(variant_);
  }

  void Report(std::size_t index) {
    SimulatedWorker& worker = workers_[index];
    worker.reported_s = now_s_;
    roster_.Hear(
        index,
        router::decision::WorkerStatus{.served_model_name = kVariant,
                                       .max_model_len = 131'072,
                                       .queued = static_cast<std::int32_t>(worker.queue.size()),
                                       .running = static_cast<std::int32_t>(worker.running.size()),
                                       .max_num_seqs = load_.speed.places,
                                       .max_queue = kWorkerQueue},
        clock_.Now());
    queue_.Look(variant_);
  }

  void GiveUpWaiting() {
    for (; !waiting_.empty(); waiting_.pop_front()) {
      SimulatedRequest& first = *waiting_.front();
      if (first.waits && now_s_ < first.deadline_s) return;
      if (!first.waits) continue;
      first.ticket.Leave();
      CountLate(first);
    }
  }

  void CountLate(SimulatedRequest& request) {
    End(request);
    if (Counts(request)) ++tallies_[request.tenant].outcome.late;
  }
  void Refuse(SimulatedRequest& request, double excess_s) {
    request.ticket.Leave();
    End(request);
    asks_s_[request.client] = now_s_ + ToSeconds(queue_.ComeAgain(variant_, excess_s));
    if (!Counts(request)) return;
    ++tallies_[request.tenant].outcome.refused;
    tallies_[request.tenant].refusals.push_back(now_s_ - request.arrival_s);
  }
  void End(SimulatedRequest& request) {
    request.waits = false;
    asks_s_[request.client] = now_s_;
    --num_open_;
  }

  void NoteLoads() {
    if (now_s_ >= load_.seconds) return;
    double most = 0;
    double sum = 0;
    for (const auto& view : roster_.views()) {
      most = std::max(most, static_cast<double>(view.leased));
      sum += static_cast<double>(view.leased);
    }
    most_loads_ += sum > 0 ? most * static_cast<double>(workers_.size()) / sum : 1;
    ++num_ticks_;
  }

  TenantOutcome Summarize(const Tally& tally) const {
    TenantOutcome outcome = tally.outcome;
    outcome.goodput_per_s =
        static_cast<double>(outcome.in_time) / (load_.seconds * (1 - 1 / kFifths));
    if (!tally.totals.empty()) {
      outcome.median_s = Median(tally.totals);
      outcome.p99_s = Quantile(tally.totals, 0.99);
    }
    if (!tally.refusals.empty()) outcome.refusal_p99_s = Quantile(tally.refusals, 0.99);
    return outcome;
  }
  OverloadOutcome Summarize() const {
    const auto arrived = static_cast<double>(std::max<std::int64_t>(tallies_[0].last_arrived, 1));
    return {.steady = Summarize(tallies_[0]),
            .flood = Summarize(tallies_[1]),
            .last_in_time = static_cast<double>(tallies_[0].last_in_time) / arrived,
            .wasted = wasted_tokens_ / std::max(made_tokens_, 1.0),
            .most_load = most_loads_ / static_cast<double>(num_ticks_)};
  }

  const OverloadLoad load_;
  const std::string variant_ = kVariant;
  const std::string names_[2] = {"steady", "flood"};
  std::mt19937_64 random_;
  FakeClock clock_;
  double now_s_ = 0;
  DispatchQueue queue_{clock_};
  router::fleet::Roster roster_{Variants()};
  const router::decision::ScorePolicy policy_{Variants()};
  router::decision::Experience experience_{Variants()};
  std::vector<SimulatedWorker> workers_;
  std::deque<RequestPtr>
      waiting_;  // in the order of their arrival, which is that of their deadlines
  double next_haste_s_ = 0;
  double next_s_[2];            // of each tenant's next request at random
  std::vector<double> asks_s_;  // of each client
  std::int64_t num_open_ = 0;

  Tally tallies_[2];
  double made_tokens_ = 0;
  double wasted_tokens_ = 0;
  double most_loads_ = 0;
  std::int64_t num_ticks_ = 0;
};

}  // namespace

double CapacityPerSecond() {
  static const double capacity = [] {
    const MeanLengths mean = MeanOfLengths();
    const OverloadLoad gpus;
    const double request_s =
        mean.output * gpus.speed.StepSeconds(gpus.speed.places) / gpus.speed.places +
        mean.prompt * gpus.speed.input_s;
    return static_cast<double>(gpus.workers) / request_s;
  }();
  return capacity;
}

OverloadOutcome SimulateOverload(const OverloadLoad& load) { return Simulation(load).Run(); }

}  // namespace thinkwire::bench
