#pragma once

#include <optional>

#include "router/decision/policy.h"
#include "router/decision/variant_view.h"
#include "router/decision/worker_view.h"
#include "router/variant_traits.h"

namespace thinkwire::router::decision {

// What a request is expected to take of a variant. Tokens.
struct ExpectedTokens {
  double prompt = 0;
  LengthQuantiles reasoning{};
  // Reasoning and answer, at most the request's max_tokens.
  double output = 0;       // as half of them need
  double long_output = 0;  // as one in ten needs more
  double places = 1;       // that it takes at once: one for each of its outputs, which are alike
  double all(double of_output) const { return prompt + places * of_output; }
};
ExpectedTokens ExpectTokens(const Query& query, const VariantView& variant);

// The task that it goes by: the one said, else the one estimated.
Task TaskOf(const Query& query);

// Outputs that the worker has, for itself: those that it says, or those that this router has
// there, if they are more: a status does not tell yet of requests that were sent after it, and
// other routers send too; and its part of those that wait in this router. REQUIRES: it is live.
double Load(const WorkerView& worker);

// When the worker would be through with the request, in seconds from now:
//   wait     none while it has places; else the requests before this one, each a place's time
//            after the other, until the last of its outputs has one
//   prompt   at its measured rate, but for the `cached_tokens` of it that the worker has
//   output   at its measured pace, slower by the share of its places that are taken, as steps of
//            more rows take longer: so that a pace that is better by noise draws no more than its
//            few percent of the requests
// and a tenth more for each second that its status is older than kFreshSeconds, which is a
// heartbeat and its way: of younger ones none is better. A worker whose pace was never seen is
// taken for one of kUnseenTokenSeconds and kUnseenPromptTokensPerSecond.
// REQUIRES: it is live.
struct Completion {
  double wait_s = 0;
  double place_s = 0;  // between two places that get free
  double output_s = 0;
  double total_s = 0;
};
inline constexpr double kFreshSeconds = 1.5;
inline constexpr double kUnseenTokenSeconds = 0.02;
inline constexpr double kUnseenPromptTokensPerSecond = 5000;
struct Pace {
  double seconds_per_token = kUnseenTokenSeconds;
  double prompt_tokens_per_s = kUnseenPromptTokensPerSecond;
};
Pace PaceOf(const WorkerView& worker);
Completion EstimateCompletion(const ExpectedTokens& tokens, const WorkerView& worker,
                              const Pace& pace, double cached_tokens = 0);

// Outputs at the worker now, as this router has counted them since its last word.
double StreamsAt(const WorkerView& worker);

// How busy a worker of so many places is for each of `streams`, as Crowding has it: those without a
// place wait.
double BusyShare(double streams, double places);

// How many times as long as half of such requests three of four take at most: lengths are taken for
// log-normal, as ChanceInTime does. At least kLeastPatience, as equal requests to a busy machine do
// not take equal times either.
inline constexpr double kLeastPatience = 1.5;
double PatienceOf(const ExpectedTokens& tokens);

// Where a worker's streams hold each other up, as a CPU's do, all of those that fill its places may
// be late together which would be in time one after another. So this says in `decision`, which is
// for that worker, how many outputs of others the request may meet there: it is in time then if it
// takes PatienceOf as long as half of such requests, after a wait for one place. If with so few the
// worker would do less than kWorthWaiting of what it does when it is full, it is so many that it is
// in time if it takes kHaste times as long, and need not wait.
//
// No limit has who has no deadline, is in time beside all of them, thinks as long as the deadline
// allows, or would be late alone, as far as anybody knows (Crowding::LeastAlone); and nobody where
// the worker's pace was never seen. It is by the whole time of the request: what is left of that
// gets less as it waits, and would have it wait for a worker with ever fewer. O(log places) where
// there is a limit, else O(1).
inline constexpr double kWorthWaiting = 0.9;
inline constexpr double kHaste = 1.4;
void LimitBeside(const Query& query, const ExpectedTokens& tokens, const WorkerView& worker,
                 Decision& decision);

// How long a request may wait, from now, so that it is in time if it takes `decision.patience` as
// long as half of such requests do, as `decision` has it; nullopt: for ever.
std::optional<double> LongestWait(const Query& query, const Decision& decision);

// How probable it is that the answer is complete `deadline_s` from now: lengths are taken for
// log-normal, through the two expected ones.
double ChanceInTime(const ExpectedTokens& tokens, const Completion& completion, double deadline_s);

}  // namespace thinkwire::router::decision
