#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/decision/completion_estimate.h"
#include "router/decision/policy.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// Weighs every live worker of every variant that may answer, and takes the one with the best score.
//
// Which variants may answer:
//   - The one that the request names, by its name, else an alias. With may_substitute all others
//     too, once none of its workers is live.
//   - Else all: of those with wishes.quality times the quality of the best one configured, those
//     whose long answer costs no more than wishes.max_cost. If none is left the caller has asked
//     for what there is not: FAILED_PRECONDITION.
//   - Of those left with a live worker, the ones that the operator prefers for the task that the
//     request says, if there are any; then those whose max_prompt_bytes the prompt is within, if
//     there are any, else the last one.
// Of the live workers of these, the ones that keep most of: the context holds prompt and long
// output; the answer is there before the deadline. The context matters more.
// Of these the one with the highest score:
//     chance * quality / best - kCostWeight * cost / dearest - kTimeWeight * s / (s + half)
//                             - min(1, (s - latency) / latency), where it is late for the latency
// where chance is how probable it is that the answer is there before the deadline (ChanceInTime), s
// the time to completion (EstimateCompletion), and half is wishes.latency, else the time until the
// deadline, else 60 s: a second counts less the more of them the caller has. A caller who asked for
// a quality has said that no more is needed: quality / best is 1 then. Equals: the worker with most
// free KV blocks, the one that this router gave fewest requests, the first.
//
// This says which variant. Of its workers that keep as much of context and deadline as the one so
// found, the request goes to the one with the least time to completion, less what it spares others:
//   - A pace that differs from that one's by a tenth or less, or was never seen, is taken for the
//     same: else the one that seems fastest would have most requests, a new one none, and a
//     conversation would not go back.
//   - What a worker is believed to have of the prompt (Query::cached) need not be computed again,
//     which is spared the request and each of those who run there, as all wait for it. It counts,
//     here and in the score, at workers alone that may have one more for it (IsWithinBound).
//
// Quality, expected lengths and pace are measured or published numbers; that they are added up with
// weights is a convention: a quarter of the best quality is worth any cost, or any time.
// Costs O(variants + workers): tests/bench/RESULTS.md has the time.
class ScorePolicy final : public Policy {
 public:
  static constexpr double kCostWeight = 0.25;
  static constexpr double kTimeWeight = 0.25;
  static constexpr double kHalfSeconds = 60;

  // REQUIRES: variants of a configuration that ParseConfig has passed.
  explicit ScorePolicy(std::vector<VariantConfig> variants);
  // Only those `configured`, indices into `variants`, may answer; their order is the one that rules
  // speak of. Workers of others, those that are no index among them too, are nobody's.
  ScorePolicy(std::vector<VariantConfig> variants, std::vector<std::size_t> configured);

  absl::StatusOr<Decision> Decide(const Query& query, const View& view) const override;

 private:
  // A variant that may answer.
  struct Candidate {
    std::size_t variant = 0;
    ExpectedTokens tokens{};
    double tokens_per_byte = 0;  // of prompts
    double context = 0;          // tokens
    double quality = 0;          // a share of the best one's
    double cost = 0;             // of what half of the answers take at most
    double long_cost = 0;        // of what nine of ten do
  };
  struct Candidates {
    std::vector<Candidate> list{};  // not empty
    Cause cause = Cause::kScore;
  };
  // A worker as an answer to the request.
  struct Option {
    std::size_t worker = 0;
    std::size_t candidate = 0;
    bool fits = false;     // the context
    bool in_time = false;  // rather than not, for the deadline
    double score = 0;
    Completion completion{};
    double cached_tokens = 0;
    double spared_s = 0;  // by those, of all who run there
    std::int32_t free_kv_blocks = 0;
    std::int64_t given = 0;

    bool IsBetterThan(const Option& other) const;
    bool IsWorthMoreThan(const Option& other) const;
  };
  // Who can have the request: live, and not tried.
  struct Open {
    std::vector<std::size_t> workers{};
    std::vector<int> of_variant{};       // how many
    std::vector<double> loads{};         // of a variant's, together
    std::vector<CachedPrefix> cached{};  // of those that may have one more for it

    double CachedBytes(std::size_t worker) const;
  };

  Open FindOpen(const Query& query, const View& view) const;
  void FindCached(const CachedPrefix& cached, const WorkerView& worker, Open& open) const;
  absl::StatusOr<Candidates> Choose(const Query& query, const View& view, const Open& open) const;
  absl::StatusOr<Candidates> Named(const Query& query, const View& view, const Open& open) const;
  absl::StatusOr<Candidates> Unnamed(const Query& query, const View& view, const Open& open) const;
  Candidate Describe(std::size_t variant, const Query& query, const View& view) const;
  static bool KeepsWishes(const Query& query, const Candidate& candidate);
  bool TakesLength(const Query& query, const Candidate& candidate) const;
  std::optional<Option> Weigh(const Candidates& all, const Query& query, const View& view,
                              const Open& open) const;
  // `first` or another worker of its variant.
  Option Settle(const Option& first, const Candidates& all, const Query& query, const View& view,
                const Open& open) const;
  // As if it were surely in time, which makes it no worse than it is.
  static Option MakeOption(const Query& query, const Candidate& candidate, const WorkerView& worker,
                           const Pace& pace, double cost, double cached_bytes);
  // Weighs how probable it is that it is not. REQUIRES: there is a deadline.
  static void Doubt(const Query& query, const Candidate& candidate, Option& option);
  static double WantedQuality(const Query& query, const Candidate& candidate);

  std::optional<std::size_t> Find(const std::string& name) const;
  absl::Status NoSuchVariant(const std::string& name) const;
  static absl::Status NoneFits(const Query& query);

  static Cause CauseOf(const Candidates& all, const Option& best);
  static std::string Expectation(const Query& query, const Candidate& chosen, const Option& best);
  std::string VariantReason(const Query& query, const Candidates& all, const Candidate& chosen,
                            const Option& best) const;

  // Whether the worker takes requests, of a variant that is known here.
  bool Takes(const WorkerView& worker) const {
    return worker.live() && worker.variant < variants_.size();
  }

  const std::vector<VariantConfig> variants_;
  const std::vector<std::size_t> configured_;
  const PerTask<double> best_quality_;
};

}  // namespace thinkwire::router::decision
