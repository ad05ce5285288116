#include "router/decision/completion_estimate.h"

#include <algorithm>
#include <cmath>

#include "common/peer_limits.h"
#include "router/decision/normal.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kStaleShare = 0.1;  // a second

double OutputTokens(double reasoning, double answer, const Query& query) {
  const double tokens = (query.thinks ? reasoning : 0) + answer;
  return query.max_tokens ? std::min(tokens, *query.max_tokens) : tokens;
}

// Streams like the request's, so many at once at a worker.
class Together {
 public:
  Together(const ExpectedTokens& tokens, const WorkerView& worker)
      : tokens_(tokens), worker_(worker), places_(worker.status->max_num_seqs) {}

  // As many as have places.
  double full() const { return std::max(places_, tokens_.places); }
  // What half of them take at most.
  double ServiceSeconds(double streams) const {
    const Crowding& crowding = worker_.crowding;
    return tokens_.prompt / PaceOf(worker_).prompt_tokens_per_s +
           tokens_.output * crowding.alone_s() * crowding.Slowdown(BusyShare(streams, places_));
  }
  // After which one of them has gone.
  double GapSeconds(double streams) const { return ServiceSeconds(streams) / streams; }
  // So many may be at once that each is in time after a wait for `gaps` of them, if it takes
  // `patience` times as long as half of them do; 0: not even the request alone.
  //
  // With a service of  fixed + each * streams  seconds the time taken,
  //   gaps * (fixed + each * streams) / streams + patience * (fixed + each * streams),
  // is convex in `streams`: it falls to its least at sqrt(gaps * fixed / (patience * each)), and
  // rises from there on, where the most are that are in time.
  double Most(double deadline_s, double patience, double gaps) const {
    const auto is_late = [&](double streams) {
      return gaps * GapSeconds(streams) + patience * ServiceSeconds(streams) > deadline_s;
    };
    double too_many = full();
    if (!is_late(too_many)) return too_many;
    double streams = Quickest(patience, gaps);
    if (is_late(streams)) ++streams;
    if (streams >= too_many || is_late(streams)) return 0;
    while (too_many - streams > 1) {
      const double middle = std::floor((streams + too_many) / 2);
      (is_late(middle) ? too_many : streams) = middle;
    }
    return streams;
  }

 private:
  // The last before, or at, which the time taken is least: the first after it may be as good.
  double Quickest(double patience, double gaps) const {
    const double each = ServiceSeconds(2) - ServiceSeconds(1);
    const double fixed = ServiceSeconds(1) - each;
    const double least = each > 0 && fixed > 0 ? std::sqrt(gaps * fixed / (patience * each)) : 0;
    return std::floor(std::clamp(least, tokens_.places, full()));
  }

  const ExpectedTokens& tokens_;
  const WorkerView& worker_;
  const double places_;
};

}  // namespace

Task TaskOf(const Query& query) { return query.task.value_or(query.estimated_task); }

ExpectedTokens ExpectTokens(const Query& query, const VariantView& variant) {
  const LengthQuantiles& reasoning = variant.reasoning[TaskOf(query)];
  const LengthQuantiles& answer = variant.answer[TaskOf(query)];
  return {.prompt = static_cast<double>(query.prompt_bytes) / variant.bytes_per_token,
          .reasoning = query.thinks ? reasoning : LengthQuantiles{},
          .output = OutputTokens(reasoning.p50, answer.p50, query),
          .long_output = OutputTokens(reasoning.p90, answer.p90, query),
          .places = static_cast<double>(query.outputs)};
}

double Load(const WorkerView& worker) {
  return static_cast<double>(std::max(std::int64_t{worker.status->queued} + worker.status->running,
                                      worker.leased - worker.parked)) +
         worker.waiting;
}

Pace PaceOf(const WorkerView& worker) {
  Pace pace;
  if (worker.seconds_per_token > 0) pace.seconds_per_token = worker.seconds_per_token;
  if (worker.prompt_tokens_per_s > 0) pace.prompt_tokens_per_s = worker.prompt_tokens_per_s;
  return pace;
}

double StreamsAt(const WorkerView& worker) {
  return static_cast<double>(worker.leased - worker.parked + worker.others);
}

double BusyShare(double streams, double places) {
  return std::max((std::min(streams, places) - 1) / places, 0.0);
}

Completion EstimateCompletion(const ExpectedTokens& tokens, const WorkerView& worker,
                              const Pace& pace, double cached_tokens) {
  const double load = Load(worker);
  const double places = worker.status->max_num_seqs;
  const double with_it = load + tokens.places;
  const double busy = std::min((with_it - 1) / places, 1.0);
  const double stale = 1 + kStaleShare * std::max(worker.silent_s - kFreshSeconds, 0.0);
  const double output_s = stale * tokens.output * pace.seconds_per_token * (1 + busy);
  const double prompt_s = std::max(tokens.prompt - cached_tokens, 0.0) / pace.prompt_tokens_per_s;
  const double service_s = stale * prompt_s + output_s;
  const double place_s = service_s / places;
  const double wait_s = std::max(with_it - places, 0.0) * place_s;
  return {
      .wait_s = wait_s, .place_s = place_s, .output_s = output_s, .total_s = wait_s + service_s};
}

std::optional<double> LongestWait(const Query& query, const Decision& decision) {
  if (!query.deadline_s || decision.service_s <= 0) return query.deadline_s;
  return *query.deadline_s - decision.ahead_s - decision.patience * decision.service_s;
}

double PatienceOf(const ExpectedTokens& tokens) {
  if (tokens.output <= 0) return kLeastPatience;
  return std::max(kLeastPatience, std::pow(tokens.long_output / tokens.output, kZ75 / kZ90));
}

void LimitBeside(const Query& query, const ExpectedTokens& tokens, const WorkerView& worker,
                 Decision& decision) {
  if (!query.deadline_s) return;
  decision.patience = query.hurries ? 0 : PatienceOf(tokens);
  if (query.hurries || worker.crowding.alone_s() <= 0) return;
  const Together together(tokens, worker);
  const double deadline_s = *query.deadline_s + query.waited_s;
  const double full = together.full();
  const auto ahead = static_cast<double>(LookAhead(worker.status->max_num_seqs));
  decision.ahead_s = ahead * together.GapSeconds(full);
  decision.service_s = together.ServiceSeconds(std::min(StreamsAt(worker) + tokens.places, full));
  const bool is_early = together.Most(deadline_s, decision.patience, ahead) == full;
  const double least_s = together.ServiceSeconds(tokens.places) *
                         worker.crowding.LeastAlone(worker.status->max_num_seqs);
  if (is_early || least_s > deadline_s) return;
  double streams = together.Most(deadline_s, decision.patience, 1);
  if (streams == 0 || together.GapSeconds(full) < kWorthWaiting * together.GapSeconds(streams)) {
    decision.patience = kHaste;
    streams = std::max(together.Most(deadline_s, kHaste, 0), tokens.places);
  }
  decision.most_beside = streams - tokens.places;
  decision.service_s = together.ServiceSeconds(streams);
  decision.ahead_s = 0;
}

double ChanceInTime(const ExpectedTokens& tokens, const Completion& completion, double deadline_s) {
  const double left_s = deadline_s - (completion.total_s - completion.output_s);
  if (left_s <= 0 || completion.output_s <= 0) return left_s > 0 ? 1 : 0;
  const double deviation = std::max(std::log(tokens.long_output / tokens.output) / kZ90, 0.01);
  return NormalCdf(std::log(left_s / completion.output_s) / deviation);
}

}  // namespace thinkwire::router::decision
