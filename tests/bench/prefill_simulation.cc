#include "tests/bench/prefill_simulation.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "tests/bench/statistics.h"
#include "worker/engine/request_check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::bench {
namespace {

using worker::engine::Request;
using worker::engine::Scheduler;
using worker::engine::TokenStream;

constexpr worker::step::Limits kLimits = {.max_num_seqs = 4096,
                                          .max_num_batched_tokens = 512,
                                          .max_model_len = 32'768,
                                          .block_tokens = 16,
                                          .num_blocks = 1 << 20,
                                          .max_in_flight = 1,
                                          .vocab_size = 1000};

constexpr std::int32_t kShortest[] = {20, 1'000, 8'000};
constexpr std::int32_t kLongest[] = {200, 4'000, 30'000};
constexpr double kWeight[] = {16, 3, 1};
constexpr std::int32_t kFewestDrawn = 20;
constexpr std::int32_t kMostDrawn = 180;

double StepSeconds(std::int32_t inputs) { return 0.0053 + inputs * 26.4e-6; }

Clock::Duration ToDuration(double seconds) {
  return std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(seconds));
}

// What the prompt takes with every step its own.
double SecondsAlone(std::int32_t prompt_tokens) {
  const std::int32_t budget = kLimits.max_num_batched_tokens;
  const double full = prompt_tokens / budget * StepSeconds(budget);
  const std::int32_t rest = prompt_tokens % budget;
  return rest == 0 ? full : full + StepSeconds(rest);
}

struct Arrival {
  Clock::TimePoint at;
  std::size_t kind = 0;  // index into kShortest and so on
  std::int32_t prompt_tokens = 0;
  std::int32_t drawn_tokens = 0;
};

std::vector<Arrival> DrawArrivals(const PrefillLoad& load) {
  std::mt19937 random(load.seed);
  std::discrete_distribution<std::size_t> kinds(std::begin(kWeight), std::end(kWeight));
  std::exponential_distribution<double> gap(1);
  const auto between = [&random](std::int32_t low, std::int32_t high) {
    return std::uniform_int_distribution<std::int32_t>(low, high)(random);
  };
  std::vector<Arrival> arrivals(static_cast<std::size_t>(load.requests));
  std::int64_t tokens = 0;
  for (Arrival& arrival : arrivals) {
    arrival.kind = kinds(random);
    arrival.prompt_tokens = between(kShortest[arrival.kind], kLongest[arrival.kind]);
    arrival.drawn_tokens = between(kFewestDrawn, kMostDrawn);
    tokens += arrival.prompt_tokens + arrival.drawn_tokens;
  }
  const double full_step = StepSeconds(kLimits.max_num_batched_tokens);
  const double mean_gap = static_cast<double>(tokens) / load.requests /
                          kLimits.max_num_batched_tokens * full_step / load.load;
  double at = 0;
  for (Arrival& arrival : arrivals) {
    at += mean_gap * gap(random);
    arrival.at = Clock::TimePoint(ToDuration(at));
  }
  return arrivals;
}

class Simulation {
 public:
  explicit Simulation(const PrefillLoad& load)
      : arrivals_(DrawArrivals(load)),
        first_token_(arrivals_.size()),
        scheduler_({.end_of_sequence_ids = {},
                    .enable_prefix_caching = false,
                    .prefill_patience = load.patience},
                   kLimits) {}

  PrefillOutcome Run() {
    while (ended_ < arrivals_.size()) {
      while (next_ < arrivals_.size() && arrivals_[next_].at <= now_) Add(next_++);
      const worker::step::Plan plan = scheduler_.Plan(now_);
      if (plan.rows.empty()) {
        now_ = arrivals_[next_].at;
        continue;
      }
      Step(plan);
    }
    return Summarize();
  }

 private:
  void Add(std::size_t i) {
    Request request;
    request.prompt_ids.assign(static_cast<std::size_t>(arrivals_[i].prompt_tokens), 1);
    request.max_tokens = arrivals_[i].drawn_tokens;
    auto stream = std::make_shared<TokenStream>(kMostDrawn, [this, i] { Take(i); });
    streams_.push_back(stream);
    const std::int32_t max_tokens = CheckRequest(request, kLimits).value();
    scheduler_.Add(i + 1, std::move(request), max_tokens, std::move(stream));
  }

  void Take(std::size_t i) {
    const TokenStream::Batch batch = streams_[i]->Take();
    const bool first = first_token_[i] == Clock::TimePoint{};
    if (first && !batch.tokens.empty()) first_token_[i] = now_;
    if (!batch.ending) return;
    ++ended_;
    streams_[i].reset();
  }

  void Step(const worker::step::Plan& plan) {
    worker::step::Result result{.step = plan.step};
    std::int32_t inputs = 0;
    for (const worker::step::Row& row : plan.rows) {
      inputs += row.count;
      if (row.draws == 0) continue;
      const auto first = static_cast<std::int32_t>(result.ids.size());
      result.rows.push_back({.slot = row.slot, .first_id = first, .num_ids = 1});
      result.ids.push_back(1);
    }
    now_ += ToDuration(StepSeconds(inputs));
    scheduler_.Apply(result, now_);
  }

  PrefillOutcome Summarize() const {
    std::vector<double> by_kind[std::size(kWeight)];
    std::int32_t in_time = 0;
    PrefillOutcome outcome;
    for (std::size_t i = 0; i < arrivals_.size(); ++i) {
      const Arrival& arrival = arrivals_[i];
      const double seconds = ToSeconds(first_token_[i] - arrival.at);
      by_kind[arrival.kind].push_back(seconds);
      if (seconds <= kGraceSeconds + 2 * SecondsAlone(arrival.prompt_tokens)) ++in_time;
      outcome.longest = std::max(outcome.longest, seconds);
    }
    outcome.in_time = in_time / static_cast<double>(arrivals_.size());
    outcome.short_prompts = TimesOf(by_kind[0]);
    outcome.long_prompts = TimesOf(by_kind[2]);
    return outcome;
  }

  static PrefillTimes TimesOf(const std::vector<double>& seconds) {
    CHECK(!seconds.empty(), "enough requests for each kind");
    return {.median = Median(seconds), .p99 = Quantile(seconds, 0.99)};
  }

  const std::vector<Arrival> arrivals_;
  std::vector<Clock::TimePoint> first_token_;  // none yet: the clock's start
  std::vector<std::shared_ptr<TokenStream>> streams_;
  std::size_t next_ = 0;
  std::size_t ended_ = 0;
  Clock::TimePoint now_;
  Scheduler scheduler_;
};

}  // namespace

PrefillOutcome SimulatePrefills(const PrefillLoad& load) {
  CHECK(load.load > 0 && load.load < 1, "a load that can be borne");
  return Simulation(load).Run();
}

}  // namespace thinkwire::bench
