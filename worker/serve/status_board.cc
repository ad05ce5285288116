#include "worker/serve/status_board.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/request_revision.h"
#include "common/rpc/status_details.h"

namespace thinkwire::worker::serve {
namespace {

// How often the board looks: as often as the shortest interval of a watcher, or for the gauges.
constexpr auto kLookForWatchers = std::chrono::milliseconds(10);
constexpr auto kLookForGauges = std::chrono::milliseconds(100);

// Heartbeats change with every step and are no news by themselves.
bool SameNews(const v1::WatchStatusResponse& a, const v1::WatchStatusResponse& b) {
  return a.queued() == b.queued() && a.running() == b.running() && a.parked() == b.parked() &&
         a.free_kv_blocks() == b.free_kv_blocks() && a.draining() == b.draining();
}

}  // namespace

StatusBoard::StatusBoard(const engine::Engine& engine, const ServedModel& model,
                         WorkerMetrics& metrics, const rpc::TrustedPeers& trusted_peers,
                         const Clock& clock)
    : engine_(engine),
      model_(model),
      metrics_(metrics),
      clock_(clock),
      places_(kMaxStatusWatches, trusted_peers),
      thread_([this] { Run(); }) {}

StatusBoard::~StatusBoard() { Stop(); }

absl::Status StatusBoard::Add(std::shared_ptr<Watcher> watcher, Clock::Duration min_interval,
                              const std::string& peer) {
  watcher->min_interval_ = min_interval;
  MutexLock lock(mu_);
  if (stopping_) {
    return rpc::Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN",
                      "the worker is shutting down");
  }
  std::optional<rpc::Shares::Held> place = places_.Take(peer);
  if (!place) {
    return rpc::Error(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
        absl::StrCat("this client's share of ", kMaxStatusWatches, " watches is used up"));
  }
  watchers_.emplace(std::move(watcher), *std::move(place));
  changed_.NotifyOne();
  return absl::OkStatus();
}

void StatusBoard::Remove(const std::shared_ptr<Watcher>& watcher) {
  MutexLock lock(mu_);
  watchers_.erase(watcher);
}

void StatusBoard::SetDraining() {
  MutexLock lock(mu_);
  draining_ = true;
  changed_.NotifyOne();
}

void StatusBoard::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyOne();
  }
  if (thread_.joinable()) thread_.join();
}

void StatusBoard::Run() {
  while (true) {
    Look();
    MutexLock lock(mu_);
    if (stopping_) break;
    if (watchers_.empty()) {
      changed_.WaitFor(mu_, kLookForGauges);
    } else {
      changed_.WaitFor(mu_, kLookForWatchers);
    }
  }
  std::map<std::shared_ptr<Watcher>, rpc::Shares::Held> watchers;
  {
    MutexLock lock(mu_);
    watchers.swap(watchers_);
  }
  for (const auto& entry : watchers) entry.first->End();
}

void StatusBoard::Look() {
  const Clock::TimePoint now = clock_.Now();
  const engine::EngineStatus status = engine_.status();
  metrics_.SetStatus(status);
  const v1::WatchStatusResponse description = Describe(status, now);
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    for (const auto& entry : watchers_) watchers.push_back(entry.first);
  }
  for (const auto& watcher : watchers) TellIfDue(*watcher, description, now);
}

void StatusBoard::TellIfDue(Watcher& watcher, const v1::WatchStatusResponse& status,
                            Clock::TimePoint now) {
  const Clock::Duration silence = now - watcher.told_at_;
  const bool news = !watcher.told_once_ || !SameNews(watcher.told_, status);
  const bool due =
      !watcher.told_once_ || silence >= kHeartbeat || (news && silence >= watcher.min_interval_);
  if (!due || !watcher.Tell(status)) return;
  watcher.told_once_ = true;
  watcher.told_at_ = now;
  watcher.told_ = status;
}

v1::WatchStatusResponse StatusBoard::Describe(const engine::EngineStatus& status,
                                              Clock::TimePoint now) {
  v1::WatchStatusResponse out;
  out.set_served_model_name(model_.name);
  out.set_fingerprint(model_.fingerprint);
  out.set_request_revision(rpc::kRequestRevision);
  out.set_max_model_len(model_.limits.context());
  out.set_vocab_size(model_.limits.vocab_size);
  out.set_queued(status.queued);
  out.set_max_queue(model_.max_queue);
  out.set_running(status.running);
  out.set_parked(status.parked);
  out.set_max_num_seqs(model_.limits.max_num_seqs);
  out.set_free_kv_blocks(status.free_blocks);
  out.set_cached_kv_blocks(status.cached_blocks);
  out.set_total_kv_blocks(status.total_blocks);
  out.set_kv_block_tokens(model_.limits.block_tokens);
  {
    MutexLock lock(mu_);
    out.set_draining(draining_);
  }
  DescribeRanks(status.steps, now, &out);
  return out;
}

void StatusBoard::DescribeRanks(std::uint64_t steps, Clock::TimePoint now,
                                v1::WatchStatusResponse* out) {
  const engine::EnginePulse pulse = engine_.pulse();
  progress_.resize(pulse.ranks.size(), {.beat = {}, .at = now});
  for (std::size_t rank = 0; rank < pulse.ranks.size(); ++rank) {
    Progress& progress = progress_[rank];
    const step::RankBeat& beat = pulse.ranks[rank];
    const bool idle = pulse.doing == engine::EnginePulse::kWaiting;
    if (idle || steps != last_steps_ || beat != progress.beat) progress = {beat, now};
    v1::RankHeartbeat& heartbeat = *out->add_ranks();
    heartbeat.set_rank(static_cast<std::int32_t>(rank));
    heartbeat.set_steps(steps);  // a step counts once every rank has finished it
    rpc::SetDuration(now - progress.at, heartbeat.mutable_since_progress());
    metrics_.SetRank(rank, beat, now - progress.at);
  }
  last_steps_ = steps;
}

}  // namespace thinkwire::worker::serve
