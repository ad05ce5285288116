#include "router/fleet/worker_pool.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/utf8.h"
#include "router/fleet/probe.h"
#include "router/fleet/worker_client.h"

namespace thinkwire::router::fleet {
namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(50);
constexpr std::size_t kMaxLoggedBytes = 512;

// Why a worker whose status stream has ended is not live. Its own words stay in the log.
std::string WhyEnded(const absl::Status& status) {
  return absl::IsUnavailable(status)
             ? "it cannot be reached"
             : absl::StrCat("its status ended with ", absl::StatusCodeToString(status.code()));
}

// What a client is told where the policy has found no worker.
absl::Status ForClient(const absl::Status& status) {
  const std::string message(status.message());
  if (absl::IsNotFound(status)) return rpc::Error(status.code(), "VARIANT_NOT_FOUND", message);
  if (absl::IsFailedPrecondition(status)) {
    return rpc::Error(status.code(), "NO_VARIANT_FITS", message);
  }
  return rpc::WithRetryAfter(rpc::WithMetadata(rpc::Error(status.code(), "NO_LIVE_WORKER", message),
                                               "variant", decision::UnavailableVariant(status)));
}

// The same where it has found none but full ones.
absl::Status AllFull(const absl::Status& status) {
  return rpc::WithRetryAfter(rpc::WithMetadata(
      rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                 "each live worker has as many requests of this router as it can take"),
      "variant", decision::UnavailableVariant(status)));
}

void LogEnd(const std::string& worker, const absl::Status& status) {
  LogWarning("a worker's status has ended",
             {{"worker", worker},
              {"code", absl::StatusCodeToString(status.code())},
              {"text", CutText(std::string(status.message()), kMaxLoggedBytes)}});
}

}  // namespace

WorkerPool::WorkerPool(std::vector<VariantConfig> variants, const Clock& clock, OnChange on_change,
                       const Patience& patience, Resolver& resolver,
                       const rpc::ChannelSecurity& security)
    : clock_(clock),
      on_change_(std::move(on_change)),
      patience_(patience),
      security_(security),
      discovery_(
          NamesOf(variants), resolver,
          [this](const WorkerName& name, const absl::StatusOr<std::vector<std::string>>& found) {
            OnLookUp(name, found);
          }),
      roster_(variants),
      experience_(variants) {
  MutexLock lock(mu_);
  for (const WorkerName& name : NamesOf(variants)) names_.emplace(name, Name());
  for (std::size_t v = 0; v < variants.size(); ++v) {
    for (const std::string& address : variants[v].workers) {
      if (!ReadWorkerName(v, address)) Add(v, address, std::nullopt);
    }
  }
}

WorkerPool::~WorkerPool() { Stop(); }

void WorkerPool::Start() {
  discovery_.Start();
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
  discovery_.Stop();
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
    CancelCalls();
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(mu_);
  CancelCalls();  // what began just before the stop is known by now
  while (HasCalls()) changed_.Wait(mu_);
}

void WorkerPool::CancelCalls() {
  for (const Worker& worker : workers_) {
    if (worker.watch) worker.watch->Cancel();
    if (worker.probe) worker.probe->Cancel();
  }
}

bool WorkerPool::HasCalls() const {
  return std::ranges::any_of(
      workers_, [](const Worker& worker) { return worker.watching || worker.probing; });
}

// Who holds its client of an earlier time may be the last to let go of it.
void WorkerPool::FreeUnused(Due& due) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    const bool is_used = worker.watching || worker.probing || roster_.views()[i].leased > 0;
    if (!worker.client || !worker.removed || is_used) continue;
    due.retired.push_back(std::move(worker.client));
    worker = {};
    roster_.Free(i);
  }
}

WorkerPool::Due WorkerPool::FindDue() {
  const Clock::TimePoint now = clock_.Now();
  Due due;
  FreeUnused(due);
  due.changed = roster_.Look(now);
  const std::vector<std::int64_t> room = roster_.RoomElsewhere();
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    if (!worker.client) continue;
    due.all.emplace_back(worker.client, room[i]);
    if (worker.removed) continue;
    if (!worker.watching && now >= worker.next_watch) {
      worker.watching = true;
      roster_.Await(i, now);  // the connection too must come about within kSilence
      due.watches.push_back(i);
    } else if (worker.watching && worker.watch && now - roster_.heard_at(i) > kSilence) {
      due.changed |= roster_.FallSilent(i, now);
      worker.watch->Cancel();
    }
  }
  for (const std::size_t i : roster_.DueProbes(now)) {
    if (!std::exchange(workers_[i].probing, true)) due.probes.push_back(i);
  }
  for (const std::size_t i : roster_.Stalled()) due.stalled.push_back(workers_[i].client);
  return due;
}

void WorkerPool::Tick() {
  Due due;
  {
    MutexLock lock(mu_);
    if (stopping_) return;
    due = FindDue();
  }
  for (const std::size_t i : due.watches) BeginWatch(i);
  for (const std::size_t i : due.probes) BeginProbe(i);
  for (const auto& client : due.stalled) {
    client->EndAttempts("made no progress while there was work");
  }
  for (const auto& [client, room] : due.all) client->EndSilentAttempts(room);
  if (due.changed) on_change_(*this);
}

void WorkerPool::BeginWatch(std::size_t index) {
  std::shared_ptr<WorkerClient> client;
  {
    MutexLock lock(mu_);
    client = workers_[index].client;
  }
  auto watch = client->Watch(
      [this, index](WorkerClient::StatusResult status) { OnStatus(index, std::move(status)); },
      [this, index](const absl::Status& status) { OnWatchEnd(index, status); });
  MutexLock lock(mu_);
  if (!workers_[index].watching) return;  // it has ended already
  workers_[index].watch = watch;
  if (stopping_ || workers_[index].removed) watch->Cancel();
}

void WorkerPool::OnStatus(std::size_t index, absl::StatusOr<decision::WorkerStatus> status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    Worker& worker = workers_[index];
    worker.failures = 0;
    worker.contacted = true;
    const auto& known = roster_.views()[index].status;
    if (known && status.ok() && status->fingerprint != known->fingerprint) BeginLife(worker);
    if (Counts(index)) {
      changed = roster_.Hear(index, std::move(status), clock_.Now());
      TellRoom(index);
    }
    changed_.NotifyAll();
  }
  if (changed) on_change_(*this);
}

void WorkerPool::OnWatchEnd(std::size_t index, const absl::Status& status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    Worker& worker = workers_[index];
    if (worker.failures == 0) LogEnd(worker.client->address(), status);
    BeginLife(worker);
    worker.watch.reset();
    worker.contacted = true;
    const int doublings = std::min(worker.failures++, 10);
    worker.next_watch = clock_.Now() + std::min(kLastRetry, kFirstRetry * (1 << doublings));
    if (Counts(index)) changed = roster_.Lose(index, WhyEnded(status));
  }
  if (changed) on_change_(*this);
  // The last touch: Stop may return, and the pool go, as soon as this is seen.
  MutexLock lock(mu_);
  workers_[index].watching = false;
  changed_.NotifyAll();
}

void WorkerPool::BeginProbe(std::size_t index) {
  std::shared_ptr<WorkerClient> client;
  std::string variant;
  {
    MutexLock lock(mu_);
    client = workers_[index].client;
    variant = roster_.VariantOf(index).name;
  }
  auto probe = StartProbe(*client, variant, clock_,
                          [this, index](const absl::Status& status) { OnProbeEnd(index, status); });
  MutexLock lock(mu_);
  if (!workers_[index].probing) return;  // it has ended already
  workers_[index].probe = probe;
  if (stopping_ || workers_[index].removed) probe->Cancel();
}

void WorkerPool::OnProbeEnd(std::size_t index, const absl::Status& status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    workers_[index].probe.reset();
    if (Counts(index)) changed = roster_.EndProbe(index, status, clock_.Now());
  }
  if (changed) on_change_(*this);
  MutexLock lock(mu_);  // the last touch, as in OnWatchEnd
  workers_[index].probing = false;
  changed_.NotifyAll();
}

void WorkerPool::WaitForFirstContact(Clock::Duration timeout) {
  const auto give_up = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mu_);
  const auto is_contacted = [](const Worker& worker) { return !worker.client || worker.contacted; };
  const auto is_looked_up = [](const auto& entry) { return entry.second.looked_up; };
  while (!std::ranges::all_of(names_, is_looked_up) ||
         !std::ranges::all_of(workers_, is_contacted)) {
    const auto left = give_up - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return;
    changed_.WaitFor(mu_, left);
  }
}

void WorkerPool::FillIn(const decision::PromptMarks& marks, decision::Query& query) {
  const std::vector<PrefixIndex::Known> known = prefixes_.Find(marks);
  for (std::size_t i = 0; i < workers_.size() && !known.empty(); ++i) {
    const double bytes = BytesOf(known, workers_[i].life);
    if (bytes > 0) query.cached.push_back({.worker = i, .bytes = bytes});
  }
}

absl::StatusOr<decision::Decision> WorkerPool::Decide(const decision::Policy& policy,
                                                      const decision::Query& query) const {
  return policy.Decide(query, {.workers = roster_.views(), .variants = experience_.views()});
}

absl::Status WorkerPool::Refusal(const decision::Policy& policy, decision::Query query,
                                 std::size_t num_full, const absl::Status& status) const {
  if (num_full == 0) return ForClient(status);
  query.tried.resize(query.tried.size() - num_full);
  return Decide(policy, query).ok() ? AllFull(status) : ForClient(status);
}

absl::StatusOr<WorkerLease> WorkerPool::Lease(const decision::Policy& policy, decision::Query query,
                                              decision::PromptMarks marks) {
  MutexLock lock(mu_);
  FillIn(marks, query);
  const std::size_t num_full = roster_.PassOver(query, clock_.Now());
  absl::StatusOr<decision::Decision> decision = Decide(policy, query);
  if (decision.ok()) return Give(*std::move(decision), std::move(marks), query.outputs);
  return Refusal(policy, std::move(query), num_full, decision.status());
}

WorkerLease WorkerPool::Give(decision::Decision decision, decision::PromptMarks marks,
                             std::int32_t outputs) {
  CHECK(decision.worker < workers_.size(), "a policy chooses one of the workers that it was given");
  roster_.Give(decision.worker, outputs);
  const Worker& worker = workers_[decision.worker];
  return WorkerLease(this, worker.client.get(), std::move(decision), clock_.Now(), std::move(marks),
                     worker.life, outputs);
}

void WorkerPool::Learn(const WorkerLease& lease, const decision::Taken& taken,
                       double seconds_per_token, double prompt_tokens_per_s) {
  MutexLock lock(mu_);
  experience_.Learn(taken);
  roster_.LearnPace(lease.decision().worker, seconds_per_token, prompt_tokens_per_s);
}

void WorkerPool::Begin(const WorkerLease& lease) {
  MutexLock lock(mu_);
  roster_.Begin(lease.decision_.worker);
}

void WorkerPool::Succeed(const WorkerLease& lease) {
  MutexLock lock(mu_);
  roster_.Succeed(lease.decision_.worker);
}

std::int64_t WorkerPool::Fail(const WorkerLease& lease, WorkerTrust::Failure failure) {
  bool changed = false;
  std::int64_t together = 0;
  {
    MutexLock lock(mu_);
    changed = roster_.Fail(lease.decision_.worker, failure, lease.since_, clock_.Now());
    together = roster_.LostTogether(lease.decision_.worker);
  }
  if (changed) on_change_(*this);
  return together;
}

void WorkerPool::EndOutput(const WorkerLease& lease) {
  MutexLock lock(mu_);
  roster_.EndOutput(lease.decision_.worker);
  TellRoom(lease.decision_.worker);
}

void WorkerPool::Release(const WorkerLease& lease) {
  // Whoever asked has waited for longer than any worker needs, and in vain.
  if (lease.stage_ == WorkerLease::Stage::kGiven && clock_.Now() - lease.since_ > kFirstWord) {
    Fail(lease, WorkerTrust::Failure::kOrdinary);
  }
  MutexLock lock(mu_);
  roster_.TakeBack(lease.decision_.worker, lease.outputs_,
                   lease.stage_ == WorkerLease::Stage::kBegun);
  TellRoom(lease.decision_.worker);
}

VariantState WorkerPool::Describe(std::size_t variant) const {
  MutexLock lock(mu_);
  return roster_.Describe(variant);
}

Losses WorkerPool::LossesOf(std::size_t variant) const {
  MutexLock lock(mu_);
  return roster_.LossesOf(variant);
}

bool WorkerPool::AnyLive() const {
  MutexLock lock(mu_);
  return roster_.AnyLive();
}

std::vector<std::shared_ptr<WorkerClient>> WorkerPool::Speaking() const {
  std::vector<std::shared_ptr<WorkerClient>> speaking;
  MutexLock lock(mu_);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].client && roster_.views()[i].status) speaking.push_back(workers_[i].client);
  }
  return speaking;
}

bool WorkerPool::WasLiveLately(const std::string& variant) const {
  MutexLock lock(mu_);
  return roster_.WasLiveLately(variant, clock_.Now());
}

}  // namespace thinkwire::router::fleet
