#include "worker/serve/status_board.h"

#include <utility>
#include <vector>

#include "common/rpc/proto_time.h"

namespace thinkwire::worker::serve {
namespace {

// How often the board looks: as often as the shortest interval of a watcher, or for the gauges.
constexpr auto kLookForWatchers = std::chrono::milliseconds(10);
constexpr auto kLookForGauges = std::chrono::milliseconds(100);

// The router watches once per worker; beyond this somebody is not a router.
constexpr std::size_t kMaxWatchers = 256;

// Heartbeats change with every step and are no news by themselves.
bool SameNews(const v1::WatchStatusResponse& a, const v1::WatchStatusResponse& b) {
  return a.queued() == b.queued() && a.running() == b.running() &&
         a.free_kv_blocks() == b.free_kv_blocks() && a.draining() == b.draining();
}

}  // namespace

StatusBoard::StatusBoard(const engine::Engine& engine, const ServedModel& model,
                         WorkerMetrics& metrics, const Clock& clock)
    : engine_(engine), model_(model), metrics_(metrics), clock_(clock), thread_([this] {
        Run();
      }) {}

StatusBoard::~StatusBoard() { Stop(); }

bool StatusBoard::Add(std::shared_ptr<Watcher> watcher, Clock::Duration min_interval) {
  watcher->min_interval_ = min_interval;
  MutexLock lock(mu_);
  if (stopping_ || watchers_.size() >= kMaxWatchers) return false;
  watchers_.insert(std::move(watcher));
  changed_.NotifyOne();
  return true;
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
  std::set<std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    watchers.swap(watchers_);
  }
  for (const auto& watcher : watchers) watcher->End();
}

void StatusBoard::Look() {
  const Clock::TimePoint now = clock_.Now();
  const engine::EngineStatus status = engine_.status();
  metrics_.SetStatus(status);
  const v1::WatchStatusResponse description = Describe(status, now);
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    watchers.assign(watchers_.begin(), watchers_.end());
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
  out.set_max_model_len(model_.limits.max_model_len);
  out.set_queued(status.queued);
  out.set_max_queue(model_.max_queue);
  out.set_running(status.running);
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
  }
  last_steps_ = steps;
}

}  // namespace thinkwire::worker::serve
