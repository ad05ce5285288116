#include "router/decision/least_loaded.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace thinkwire::router::decision {
namespace {

std::int64_t Load(const WorkerView& worker) {
  return std::max(std::int64_t{worker.status->queued} + worker.status->running, worker.leased);
}

// REQUIRES: both are live.
bool IsLessLoaded(const WorkerView& a, const WorkerView& b) {
  // (load + 1) / max_num_seqs, cross-multiplied.
  const std::int64_t load_a = (Load(a) + 1) * b.status->max_num_seqs;
  const std::int64_t load_b = (Load(b) + 1) * a.status->max_num_seqs;
  if (load_a != load_b) return load_a < load_b;
  if (a.status->free_kv_blocks != b.status->free_kv_blocks) {
    return a.status->free_kv_blocks > b.status->free_kv_blocks;
  }
  return a.given < b.given;
}

std::string Reason(const WorkerStatus& chosen, int num_live) {
  std::string reason = num_live == 1
                           ? "the only live one"
                           : absl::StrCat("the one of ", num_live, " live ones with least to do");
  absl::StrAppend(&reason, ": ", chosen.queued, " queued, ", chosen.running, " running");
  return reason;
}

}  // namespace

std::optional<WorkerChoice> ChooseLeastLoaded(std::size_t variant,
                                              std::span<const WorkerView> workers,
                                              std::span<const std::size_t> tried) {
  std::optional<std::size_t> best;
  int num_live = 0;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (workers[i].variant != variant || !workers[i].live()) continue;
    if (std::ranges::find(tried, i) != tried.end()) continue;
    ++num_live;
    if (!best || IsLessLoaded(workers[i], workers[*best])) best = i;
  }
  if (!best) return std::nullopt;
  return WorkerChoice{*best, Reason(*workers[*best].status, num_live)};
}

}  // namespace thinkwire::router::decision
