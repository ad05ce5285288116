#include "router/worker_pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/rpc/status_details.h"
#include "router/variant_names.h"
#include "router/worker_client.h"

namespace thinkwire::router {
namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(50);
constexpr char kSilent[] = "it is silent";
constexpr Clock::Duration kRetryAfter = std::chrono::seconds(1);

std::int64_t Load(const WorkerStatus& status, std::int64_t leased) {
  // What was sent after the last status is in neither count alone; other routers send too.
  return std::max<std::int64_t>(std::int64_t{status.queued} + status.running, leased);
}

}  // namespace

WorkerLease::WorkerLease(WorkerPool* pool, std::size_t worker, const WorkerClient* client,
                         std::string reason)
    : pool_(pool), worker_(worker), client_(client), reason_(std::move(reason)) {}

WorkerLease::WorkerLease(WorkerLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      worker_(other.worker_),
      client_(other.client_),
      reason_(other.reason_) {}

WorkerLease::~WorkerLease() {
  if (pool_ != nullptr) pool_->Release(worker_);
}

WorkerPool::WorkerPool(const RouterConfig& config, const Clock& clock,
                       std::function<void()> on_change)
    : variants_(config.variants), clock_(clock), on_change_(std::move(on_change)) {
  MutexLock lock(mu_);
  for (std::size_t v = 0; v < variants_.size(); ++v) {
    for (const std::string& address : variants_[v].workers) {
      Worker& worker = workers_.emplace_back();
      worker.variant = v;
      worker.client = std::make_unique<WorkerClient>(address, clock_);
      worker.next_watch = clock_.Now();
      worker.why_not = "not connected yet";
    }
  }
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Start() {
  thread_ = std::thread([this] {
    for (;;) {
      Tick();
      MutexLock lock(mu_);
      if (!stopping_) changed_.WaitFor(mu_, kTickInterval);
      if (stopping_) return;
    }
  });
}

void WorkerPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
    for (Worker& worker : workers_) {
      if (worker.watch) worker.watch->Cancel();
    }
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  // A watch that began just before the stop is known by now.
  for (Worker& worker : workers_) {
    if (worker.watch) worker.watch->Cancel();
  }
  while (std::ranges::any_of(workers_, [](const Worker& worker) { return worker.watching; })) {
    changed_.Wait(mu_);
  }
}

void WorkerPool::Tick() {
  std::vector<std::size_t> due;
  bool changed = false;
  {
    MutexLock lock(mu_);
    if (stopping_) return;
    const Clock::TimePoint now = clock_.Now();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      Worker& worker = workers_[i];
      if (!worker.watching && now >= worker.next_watch) {
        worker.watching = true;
        worker.heard_at = now;  // the connection too must come about within kSilence
        due.push_back(i);
      } else if (worker.watching && worker.watch && now - worker.heard_at > kSilence) {
        const bool was_live = IsLive(worker);
        worker.why_not = kSilent;
        worker.status.reset();
        worker.watch->Cancel();
        if (was_live) LogChange(worker, false);
        changed |= was_live;
      }
    }
  }
  for (const std::size_t i : due) BeginWatch(i);
  if (changed) on_change_();
}

void WorkerPool::BeginWatch(std::size_t index) {
  const WorkerClient* client = nullptr;
  {
    MutexLock lock(mu_);
    client = workers_[index].client.get();
  }
  auto watch =
      client->Watch([this, index](WorkerStatus status) { OnStatus(index, std::move(status)); },
                    [this, index](const absl::Status& status) { OnWatchEnd(index, status); });
  MutexLock lock(mu_);
  if (!workers_[index].watching) return;  // it has ended already
  workers_[index].watch = watch;
  if (stopping_) watch->Cancel();
}

void WorkerPool::OnStatus(std::size_t index, WorkerStatus status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    Worker& worker = workers_[index];
    const bool was_live = IsLive(worker);
    worker.heard_at = clock_.Now();
    worker.failures = 0;
    worker.contacted = true;
    if (!ServesVariant(worker, status.served_model_name)) {
      worker.status.reset();
      worker.why_not = absl::StrCat("it serves \"", status.served_model_name, "\"");
    } else {
      worker.why_not = status.draining ? "it is draining" : "";
      worker.status = std::move(status);
    }
    changed = IsLive(worker) != was_live;
    if (changed) LogChange(worker, !was_live);
    changed_.NotifyAll();
  }
  if (changed) on_change_();
}

void WorkerPool::OnWatchEnd(std::size_t index, const absl::Status& status) {
  bool was_live = false;
  {
    MutexLock lock(mu_);
    Worker& worker = workers_[index];
    was_live = IsLive(worker);
    worker.watch.reset();
    worker.status.reset();
    worker.contacted = true;
    if (worker.why_not != kSilent) worker.why_not = std::string(status.message());
    const int doublings = std::min(worker.failures++, 10);
    worker.next_watch = clock_.Now() + std::min(kLastRetry, kFirstRetry * (1 << doublings));
    if (was_live) LogChange(worker, false);
  }
  if (was_live) on_change_();
  // The last touch: Stop may return, and the pool go, as soon as this is seen.
  MutexLock lock(mu_);
  workers_[index].watching = false;
  changed_.NotifyAll();
}

void WorkerPool::WaitForFirstContact(Clock::Duration timeout) {
  const auto give_up = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mu_);
  while (!std::ranges::all_of(workers_, [](const Worker& worker) { return worker.contacted; })) {
    const auto left = give_up - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return;
    changed_.WaitFor(mu_, left);
  }
}

bool WorkerPool::ServesVariant(const Worker& worker, const std::string& served_name) const {
  const VariantConfig& variant = variants_[worker.variant];
  const auto matches = [&](const std::string& alias) { return MatchesAlias(served_name, alias); };
  return absl::EqualsIgnoreCase(served_name, variant.name) ||
         std::ranges::any_of(variant.aliases, matches) ||
         std::ranges::any_of(KnownAliases(variant.name), matches);
}

bool WorkerPool::IsLive(const Worker& worker) const {
  return worker.status && !worker.status->draining;
}

bool WorkerPool::IsLessLoaded(const Worker& a, const Worker& b) const {
  // (load + 1) / max_num_seqs, cross-multiplied.
  const std::int64_t load_a = (Load(*a.status, a.leased) + 1) * b.status->max_num_seqs;
  const std::int64_t load_b = (Load(*b.status, b.leased) + 1) * a.status->max_num_seqs;
  if (load_a != load_b) return load_a < load_b;
  if (a.status->free_kv_blocks != b.status->free_kv_blocks) {
    return a.status->free_kv_blocks > b.status->free_kv_blocks;
  }
  return a.given < b.given;
}

absl::StatusOr<WorkerLease> WorkerPool::Pick(std::size_t variant) {
  MutexLock lock(mu_);
  std::optional<std::size_t> best;
  int num_live = 0;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].variant != variant || !IsLive(workers_[i])) continue;
    ++num_live;
    if (!best || IsLessLoaded(workers_[i], workers_[*best])) best = i;
  }
  if (!best) return NoneLive(variant);
  Worker& worker = workers_[*best];
  std::string reason = num_live == 1
                           ? "the only live one"
                           : absl::StrCat("the one of ", num_live, " live ones with least to do");
  absl::StrAppend(&reason, ": ", worker.status->queued, " queued, ", worker.status->running,
                  " running");
  ++worker.leased;
  ++worker.given;
  return WorkerLease(this, *best, worker.client.get(), std::move(reason));
}

absl::Status WorkerPool::NoneLive(std::size_t variant) const {
  std::string why;
  for (const Worker& worker : workers_) {
    if (worker.variant != variant) continue;
    why = absl::StrCat(worker.client->address(), ": ", worker.why_not);
    break;
  }
  return rpc::WithRetryAfter(
      rpc::WithMetadata(rpc::Error(absl::StatusCode::kUnavailable, "NO_LIVE_WORKER",
                                   absl::StrCat("no worker of ", variants_[variant].name,
                                                " is live (", why, ")")),
                        "variant", variants_[variant].name),
      kRetryAfter);
}

void WorkerPool::Release(std::size_t index) {
  MutexLock lock(mu_);
  --workers_[index].leased;
  CHECK(workers_[index].leased >= 0, "a lease was released twice");
}

WorkerPool::VariantState WorkerPool::Describe(std::size_t variant) const {
  VariantState state;
  std::set<std::string> fingerprints;
  MutexLock lock(mu_);
  for (const Worker& worker : workers_) {
    if (worker.variant != variant) continue;
    ++state.configured;
    if (!worker.status) continue;
    if (worker.status->draining) {
      ++state.draining;
      continue;
    }
    ++state.live;
    state.queued += worker.status->queued;
    state.running += worker.status->running;
    state.max_model_len = std::max(state.max_model_len, worker.status->max_model_len);
    fingerprints.insert(worker.status->fingerprint);
  }
  state.fingerprints.assign(fingerprints.begin(), fingerprints.end());
  return state;
}

bool WorkerPool::AnyLive() const {
  MutexLock lock(mu_);
  for (const Worker& worker : workers_) {
    if (IsLive(worker)) return true;
  }
  return false;
}

void WorkerPool::LogChange(const Worker& worker, bool live) const {
  if (stopping_) return;
  LogInfo(live ? "worker is live" : "worker is not live",
          {{"variant", variants_[worker.variant].name},
           {"worker", worker.client->address()},
           {"why", worker.why_not}});
}

}  // namespace thinkwire::router
