#include "router/decision/score_policy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "router/decision/affinity.h"
#include "router/decision/variant_names.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kMillion = 1e6;
constexpr double kHardly = 0.1;  // what two measured paces of equal workers differ by

// Keeps those of `list` for which `keeps` holds, if there are any. Whether there were.
template <class List, class Keeps>
bool KeepIfAny(List& list, Keeps keeps) {
  if (std::ranges::none_of(list, keeps)) return false;
  std::erase_if(list, [&](const auto& item) { return !keeps(item); });
  return true;
}

PerTask<double> BestQuality(const std::vector<VariantConfig>& variants,
                            const std::vector<std::size_t>& configured) {
  PerTask<double> best;
  for (const std::size_t variant : configured) {
    for (const Task task : kAllTasks) {
      best[task] = std::max(best[task], variants[variant].traits.quality[task]);
    }
  }
  return best;
}

std::vector<std::size_t> AllOf(const std::vector<VariantConfig>& variants) {
  std::vector<std::size_t> all(variants.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

// Requests that have a place there. REQUIRES: it is live.
double RunningOf(const WorkerView& worker) {
  return std::min<double>(Load(worker), worker.status->max_num_seqs);
}

// The worker's, or `other` where they hardly differ or the worker's was never seen.
Pace NearlyAs(const Pace& other, const WorkerView& worker) {
  const double difference = worker.seconds_per_token - other.seconds_per_token;
  const bool hardly = std::abs(difference) <= kHardly * other.seconds_per_token;
  return worker.seconds_per_token <= 0 || hardly ? other : PaceOf(worker);
}

double Lateness(double total_s, const Wishes& wishes) {
  if (!wishes.latency_s || total_s <= *wishes.latency_s) return 0;
  return std::min(1.0, (total_s - *wishes.latency_s) / *wishes.latency_s);
}

double TimePenalty(double total_s, const Query& query) {
  const double half =
      query.wishes.latency_s.value_or(query.deadline_s.value_or(ScorePolicy::kHalfSeconds));
  return ScorePolicy::kTimeWeight * total_s / (total_s + half) + Lateness(total_s, query.wishes);
}

std::string WhyWorker(int num_live, double cached_tokens) {
  const std::string has =
      cached_tokens < 1 ? ""
                        : absl::StrFormat("has %.0f tokens of this conversation", cached_tokens);
  if (num_live == 1) return absl::StrCat("the only live one", has.empty() ? "" : ", it ", has);
  if (!has.empty()) return has;
  return absl::StrCat("the one of ", num_live, " live ones that is through first");
}

std::string WorkerReason(const WorkerView& chosen, int num_live, double cached_tokens) {
  return absl::StrCat(WhyWorker(num_live, cached_tokens), ": ", chosen.status->queued, " queued, ",
                      chosen.status->running, " running");
}

}  // namespace

ScorePolicy::ScorePolicy(std::vector<VariantConfig> variants)
    : variants_(std::move(variants)),
      configured_(AllOf(variants_)),
      best_quality_(BestQuality(variants_, configured_)) {}

ScorePolicy::ScorePolicy(std::vector<VariantConfig> variants, std::vector<std::size_t> configured)
    : variants_(std::move(variants)),
      configured_(std::move(configured)),
      best_quality_(BestQuality(variants_, configured_)) {}

absl::StatusOr<Decision> ScorePolicy::Decide(const Query& query, const View& view) const {
  const Open open = FindOpen(query, view);
  ASSIGN_OR_RETURN(const Candidates all, Choose(query, view, open));
  const std::optional<Option> weighed = Weigh(all, query, view, open);
  if (!weighed) {
    const std::size_t variant = all.list.front().variant;
    return NoLiveWorker(variants_[variant].name, variant, view.workers);
  }
  const Option best = Settle(*weighed, all, query, view, open);
  const Candidate& chosen = all.list[best.candidate];
  const WorkerView& worker = view.workers[best.worker];
  Decision decision{
      .variant = chosen.variant,
      .worker = best.worker,
      .variant_reason = VariantReason(query, all, chosen, best),
      .worker_reason = WorkerReason(worker, open.of_variant[chosen.variant], best.cached_tokens),
      .cause = CauseOf(all, best),
      .expected_reasoning = chosen.tokens.reasoning,
      .expected_wait_s = best.completion.wait_s,
      .place_s = worker.seconds_per_token > 0 ? best.completion.place_s : 0,
      .service_s =
          worker.seconds_per_token > 0 ? best.completion.total_s - best.completion.wait_s : 0,
      .expected_tokens = chosen.tokens.all(chosen.tokens.output),
      .prompt_tokens = chosen.tokens.prompt,
      .cached_tokens = best.cached_tokens,
      .cached_elsewhere = best.cached_tokens <= 0 && !query.cached.empty()};
  LimitBeside(query, chosen.tokens, worker, decision);
  return decision;
}

ScorePolicy::Open ScorePolicy::FindOpen(const Query& query, const View& view) const {
  std::vector<bool> tried(view.workers.size());
  for (const std::size_t worker : query.tried) tried[worker] = true;
  Open open{.of_variant = std::vector<int>(variants_.size()),
            .loads = std::vector<double>(variants_.size())};
  open.workers.reserve(view.workers.size());
  for (std::size_t i = 0; i < view.workers.size(); ++i) {
    if (tried[i] || !Takes(view.workers[i])) continue;
    open.workers.push_back(i);
    ++open.of_variant[view.workers[i].variant];
    open.loads[view.workers[i].variant] += Load(view.workers[i]);
  }
  for (const CachedPrefix& cached : query.cached) {
    if (!tried[cached.worker]) FindCached(cached, view.workers[cached.worker], open);
  }
  return open;
}

void ScorePolicy::FindCached(const CachedPrefix& cached, const WorkerView& worker,
                             Open& open) const {
  if (Takes(worker) &&
      IsWithinBound(Load(worker), open.loads[worker.variant], open.of_variant[worker.variant])) {
    open.cached.push_back(cached);
  }
}

double ScorePolicy::Open::CachedBytes(std::size_t worker) const {
  const auto found = std::ranges::find(cached, worker, &CachedPrefix::worker);
  return found == cached.end() ? 0 : found->bytes;
}

std::optional<ScorePolicy::Option> ScorePolicy::Weigh(const Candidates& all, const Query& query,
                                                      const View& view, const Open& open) const {
  constexpr std::size_t kNone = -1;
  const double dearest = std::ranges::max(all.list, {}, &Candidate::cost).cost;
  std::vector<std::size_t> candidate_of(variants_.size(), kNone);
  for (std::size_t c = 0; c < all.list.size(); ++c) candidate_of[all.list[c].variant] = c;
  std::optional<Option> best;
  for (const std::size_t i : open.workers) {
    const std::size_t c = candidate_of[view.workers[i].variant];
    if (c == kNone) continue;
    const double cost = dearest > 0 ? kCostWeight * all.list[c].cost / dearest : 0;
    Option option = MakeOption(query, all.list[c], view.workers[i], PaceOf(view.workers[i]), cost,
                               open.CachedBytes(i));
    if (best && !option.IsBetterThan(*best)) continue;
    // Only now, as it costs most.
    if (query.deadline_s) Doubt(query, all.list[c], option);
    if (best && !option.IsBetterThan(*best)) continue;
    option.worker = i;
    option.candidate = c;
    best = option;
  }
  return best;
}

ScorePolicy::Option ScorePolicy::Settle(const Option& first, const Candidates& all,
                                        const Query& query, const View& view,
                                        const Open& open) const {
  const Candidate& candidate = all.list[first.candidate];
  const Pace pace = PaceOf(view.workers[first.worker]);
  Option best = first;
  for (const std::size_t i : open.workers) {
    const WorkerView& worker = view.workers[i];
    if (worker.variant != candidate.variant || i == first.worker) continue;
    Option option =
        MakeOption(query, candidate, worker, NearlyAs(pace, worker), 0, open.CachedBytes(i));
    if (!option.IsWorthMoreThan(best)) continue;
    if (query.deadline_s) Doubt(query, candidate, option);
    if (!option.IsWorthMoreThan(best)) continue;
    option.worker = i;
    option.candidate = first.candidate;
    best = option;
  }
  return best;
}

ScorePolicy::Option ScorePolicy::MakeOption(const Query& query, const Candidate& candidate,
                                            const WorkerView& worker, const Pace& pace, double cost,
                                            double cached_bytes) {
  const ExpectedTokens& tokens = candidate.tokens;
  const double cached = std::min(cached_bytes * candidate.tokens_per_byte, tokens.prompt);
  const Completion completion = EstimateCompletion(tokens, worker, pace, cached);
  const double context = std::min<double>(candidate.context, worker.status->max_model_len);
  return {.fits = tokens.prompt + tokens.long_output <= context,
          .in_time = true,
          .score = WantedQuality(query, candidate) - cost - TimePenalty(completion.total_s, query),
          .completion = completion,
          .cached_tokens = cached,
          .spared_s = cached / pace.prompt_tokens_per_s * RunningOf(worker),
          .free_kv_blocks = worker.status->free_kv_blocks,
          .given = worker.given};
}

void ScorePolicy::Doubt(const Query& query, const Candidate& candidate, Option& option) {
  const double chance = ChanceInTime(candidate.tokens, option.completion, *query.deadline_s);
  option.in_time = chance >= 0.5;
  option.score -= (1 - chance) * WantedQuality(query, candidate);
}

double ScorePolicy::WantedQuality(const Query& query, const Candidate& candidate) {
  return query.wishes.asks_quality ? 1 : candidate.quality;
}

bool ScorePolicy::Option::IsBetterThan(const Option& other) const {
  return std::make_tuple(fits, in_time, score, free_kv_blocks, -given) >
         std::make_tuple(other.fits, other.in_time, other.score, other.free_kv_blocks,
                         -other.given);
}

bool ScorePolicy::Option::IsWorthMoreThan(const Option& other) const {
  return std::make_tuple(fits, in_time, spared_s - completion.total_s, free_kv_blocks, -given) >
         std::make_tuple(other.fits, other.in_time, other.spared_s - other.completion.total_s,
                         other.free_kv_blocks, -other.given);
}

absl::StatusOr<ScorePolicy::Candidates> ScorePolicy::Choose(const Query& query, const View& view,
                                                            const Open& open) const {
  return query.variant.empty() ? Unnamed(query, view, open) : Named(query, view, open);
}

absl::StatusOr<ScorePolicy::Candidates> ScorePolicy::Named(const Query& query, const View& view,
                                                           const Open& open) const {
  const std::optional<std::size_t> named = Find(query.variant);
  if (!named) return NoSuchVariant(query.variant);
  Candidates all{.list = {Describe(*named, query, view)}, .cause = Cause::kNamed};
  if (!query.wishes.may_substitute || open.of_variant[*named] > 0) return all;
  Candidates others{.list = {}, .cause = Cause::kSubstitute};
  for (const std::size_t i : configured_) {
    if (i != *named && open.of_variant[i] > 0) others.list.push_back(Describe(i, query, view));
  }
  return others.list.empty() ? all : others;
}

absl::StatusOr<ScorePolicy::Candidates> ScorePolicy::Unnamed(const Query& query, const View& view,
                                                             const Open& open) const {
  Candidates all{.cause = configured_.size() == 1 ? Cause::kOnly : Cause::kScore};
  for (const std::size_t i : configured_) {
    const Candidate candidate = Describe(i, query, view);
    if (KeepsWishes(query, candidate)) all.list.push_back(candidate);
  }
  if (all.list.empty()) return NoneFits(query);
  KeepIfAny(all.list, [&](const Candidate& c) { return open.of_variant[c.variant] > 0; });
  if (query.task && KeepIfAny(all.list, [&](const Candidate& c) {
        return std::ranges::count(variants_[c.variant].tasks, *query.task) > 0;
      })) {
    all.cause = Cause::kPreferred;
  }
  if (!KeepIfAny(all.list, [&](const Candidate& c) { return TakesLength(query, c); })) {
    all.list = {all.list.back()};
  }
  return all;
}

ScorePolicy::Candidate ScorePolicy::Describe(std::size_t variant, const Query& query,
                                             const View& view) const {
  const VariantTraits& traits = variants_[variant].traits;
  const ExpectedTokens tokens = ExpectTokens(query, view.variants[variant]);
  const double best = best_quality_[TaskOf(query)];
  const double price = traits.cost_per_million / kMillion;
  return {.variant = variant,
          .tokens = tokens,
          .tokens_per_byte = 1 / view.variants[variant].bytes_per_token,
          .context = static_cast<double>(traits.context_tokens),
          .quality = best > 0 ? traits.quality[TaskOf(query)] / best : 1,
          .cost = tokens.all(tokens.output) * price,
          .long_cost = tokens.all(tokens.long_output) * price};
}

bool ScorePolicy::KeepsWishes(const Query& query, const Candidate& candidate) {
  return candidate.quality >= query.wishes.quality &&
         (!query.wishes.max_cost || candidate.long_cost <= *query.wishes.max_cost);
}

bool ScorePolicy::TakesLength(const Query& query, const Candidate& candidate) const {
  const std::int64_t limit = variants_[candidate.variant].max_prompt_bytes;
  return limit == 0 || query.prompt_bytes <= static_cast<std::size_t>(limit);
}

std::optional<std::size_t> ScorePolicy::Find(const std::string& name) const {
  const auto find = [&](auto means) -> std::optional<std::size_t> {
    const auto found =
        std::ranges::find_if(configured_, [&](std::size_t i) { return means(variants_[i]); });
    if (found == configured_.end()) return std::nullopt;
    return *found;
  };
  const auto by_name =
      find([&](const VariantConfig& v) { return absl::EqualsIgnoreCase(v.name, name); });
  if (by_name) return by_name;
  return find([&](const VariantConfig& v) { return HasAlias(v, name); });
}

absl::Status ScorePolicy::NoSuchVariant(const std::string& name) const {
  std::string message =
      absl::StrCat("no variant \"", CutText(name, kMaxShownBytes), "\" here; there is ",
                   absl::StrJoin(configured_, ", ", [&](std::string* out, std::size_t variant) {
                     out->append(variants_[variant].name);
                   }));
  if (const std::string_view why = WhyAmbiguous(name); !why.empty()) {
    absl::StrAppend(&message, " (", thinkwire::View(why), ")");
  }
  return absl::NotFoundError(message);
}

absl::Status ScorePolicy::NoneFits(const Query& query) {
  return absl::FailedPreconditionError(absl::StrCat(
      "no variant here has at least ", absl::StrFormat("%.3g", query.wishes.quality),
      " of the best quality for ", thinkwire::View(TaskName(TaskOf(query))),
      query.wishes.max_cost
          ? absl::StrFormat(" and costs at most %.3g for a long answer", *query.wishes.max_cost)
          : ""));
}

Cause ScorePolicy::CauseOf(const Candidates& all, const Option& best) {
  if (all.cause != Cause::kScore) return all.cause;
  if (!best.fits) return Cause::kContext;
  return best.in_time ? Cause::kScore : Cause::kDeadline;
}

// "math (by its text): quality 0.91 of the best, 6000 thinking tokens, 42 s"
std::string ScorePolicy::Expectation(const Query& query, const Candidate& chosen,
                                     const Option& best) {
  return absl::StrCat(
      thinkwire::View(TaskName(TaskOf(query))), query.task ? "" : " (by its text)",
      absl::StrFormat(": quality %.2f of the best, %.0f thinking tokens, %.1f s", chosen.quality,
                      chosen.tokens.reasoning.p50, best.completion.total_s));
}

std::string ScorePolicy::VariantReason(const Query& query, const Candidates& all,
                                       const Candidate& chosen, const Option& best) const {
  const std::string_view name = variants_[chosen.variant].name;
  switch (CauseOf(all, best)) {
    case Cause::kNamed:
      return absl::EqualsIgnoreCase(thinkwire::View(name), query.variant)
                 ? "named by the request"
                 : absl::StrCat("named by the request as ", CutText(query.variant, kMaxShownBytes));
    case Cause::kSubstitute:
      return absl::StrCat("stands in for ", CutText(query.variant, kMaxShownBytes),
                          ", which has no live worker");
    case Cause::kOnly:
      return "the only variant here";
    case Cause::kPreferred:
      return absl::StrCat("preferred for the task ", thinkwire::View(TaskName(TaskOf(query))));
    case Cause::kScore:
      return absl::StrCat("the best for ", Expectation(query, chosen, best));
    case Cause::kDeadline:
      return absl::StrCat("none meets the deadline; the best for ",
                          Expectation(query, chosen, best));
    case Cause::kContext:
      return absl::StrCat("no context holds a long answer; the best for ",
                          Expectation(query, chosen, best));
  }
  return "";
}

}  // namespace thinkwire::router::decision
