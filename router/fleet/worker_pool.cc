#include "router/fleet/worker_pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/utf8.h"
#include "router/decision/variant_names.h"
#include "router/fleet/worker_client.h"

namespace thinkwire::router::fleet {
namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(50);
constexpr char kSilent[] = "it is silent";
constexpr std::size_t kMaxShownBytes = 100;  // of a worker's words, to a client
constexpr std::size_t kMaxLoggedBytes = 512;

// Whether a worker that serves `served_name` serves the variant.
bool IsServedAs(const VariantConfig& variant, const std::string& served_name) {
  return absl::EqualsIgnoreCase(served_name, variant.name) ||
         decision::HasAlias(variant, served_name);
}

// Why a worker of that status does not serve the variant; empty: it does.
std::string WhyUnfit(const VariantConfig& variant, const decision::WorkerStatus& status) {
  if (!IsServedAs(variant, status.served_model_name)) {
    return absl::StrCat("it serves \"", CutText(status.served_model_name, kMaxShownBytes), "\"");
  }
  const std::string& required = variant.require_fingerprint;
  if (required.empty() || status.fingerprint == required) return "";
  return absl::StrCat("its fingerprint is ", CutText(status.fingerprint, kMaxShownBytes),
                      ", the required one ", CutText(required, kMaxShownBytes));
}

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

// REQUIRES: it is live.
bool HasRoom(const decision::WorkerView& worker) {
  return worker.leased < MaxRequestsOfWorker(worker.status->max_queue, worker.status->max_num_seqs);
}

void LogEnd(const std::string& worker, const absl::Status& status) {
  LogWarning("a worker's status has ended",
             {{"worker", worker},
              {"code", absl::StatusCodeToString(status.code())},
              {"text", CutText(std::string(status.message()), kMaxLoggedBytes)}});
}

}  // namespace

WorkerPool::WorkerPool(std::vector<VariantConfig> variants, const Clock& clock, OnChange on_change,
                       const Patience& patience, const rpc::ChannelSecurity& security)
    : variants_(std::move(variants)),
      clock_(clock),
      on_change_(std::move(on_change)),
      experience_(variants_) {
  MutexLock lock(mu_);
  fingerprints_.resize(variants_.size());
  for (std::size_t v = 0; v < variants_.size(); ++v) {
    for (const std::string& address : variants_[v].workers) {
      Worker& worker = workers_.emplace_back();
      worker.client = std::make_unique<WorkerClient>(address, clock_, patience, security);
      worker.next_watch = clock_.Now();
      views_.push_back({.variant = v, .address = address});
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
  std::vector<const WorkerClient*> clients;
  bool changed = false;
  {
    MutexLock lock(mu_);
    if (stopping_) return;
    const Clock::TimePoint now = clock_.Now();
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      Worker& worker = workers_[i];
      clients.push_back(worker.client.get());
      if (!worker.watching && now >= worker.next_watch) {
        worker.watching = true;
        worker.heard_at = now;  // the connection too must come about within kSilence
        due.push_back(i);
      } else if (worker.watching && worker.watch && now - worker.heard_at > kSilence) {
        changed |= Silence(i);
      }
    }
  }
  for (const std::size_t i : due) BeginWatch(i);
  for (const WorkerClient* const client : clients) client->EndSilentAttempts();
  if (changed) on_change_(*this);
}

bool WorkerPool::Silence(std::size_t index) {
  decision::WorkerView& view = views_[index];
  const bool was_live = view.live();
  view.why_not = kSilent;
  view.status.reset();
  workers_[index].watch->Cancel();
  if (was_live) LogChange(view);
  UpdateFingerprints(view.variant);
  return was_live;
}

void WorkerPool::BeginWatch(std::size_t index) {
  const WorkerClient* client = nullptr;
  {
    MutexLock lock(mu_);
    client = workers_[index].client.get();
  }
  auto watch = client->Watch(
      [this, index](WorkerClient::StatusResult status) { OnStatus(index, std::move(status)); },
      [this, index](const absl::Status& status) { OnWatchEnd(index, status); });
  MutexLock lock(mu_);
  if (!workers_[index].watching) return;  // it has ended already
  workers_[index].watch = watch;
  if (stopping_) watch->Cancel();
}

void WorkerPool::SetStatus(const VariantConfig& variant,
                           absl::StatusOr<decision::WorkerStatus> status,
                           decision::WorkerView& view) {
  view.why_not = status.ok() ? WhyUnfit(variant, *status) : std::string(status.status().message());
  if (!view.why_not.empty()) return view.status.reset();
  if (status->draining) view.why_not = "it is draining";
  view.status = *std::move(status);
}

void WorkerPool::OnStatus(std::size_t index, absl::StatusOr<decision::WorkerStatus> status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    Worker& worker = workers_[index];
    worker.heard_at = clock_.Now();
    worker.failures = 0;
    worker.contacted = true;
    decision::WorkerView& view = views_[index];
    const bool was_live = view.live();
    SetStatus(variants_[view.variant], std::move(status), view);
    changed = view.live() != was_live;
    if (changed) LogChange(view);
    changed |= UpdateFingerprints(view.variant);
    changed_.NotifyAll();
  }
  if (changed) on_change_(*this);
}

void WorkerPool::OnWatchEnd(std::size_t index, const absl::Status& status) {
  bool was_live = false;
  {
    MutexLock lock(mu_);
    decision::WorkerView& view = views_[index];
    was_live = view.live();
    view.status.reset();
    if (view.why_not != kSilent) view.why_not = WhyEnded(status);
    Worker& worker = workers_[index];
    if (worker.failures == 0) LogEnd(view.address, status);
    worker.watch.reset();
    worker.contacted = true;
    const int doublings = std::min(worker.failures++, 10);
    worker.next_watch = clock_.Now() + std::min(kLastRetry, kFirstRetry * (1 << doublings));
    if (was_live) LogChange(view);
    UpdateFingerprints(view.variant);
  }
  if (was_live) on_change_(*this);
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

absl::StatusOr<WorkerLease> WorkerPool::Lease(const decision::Policy& policy,
                                              decision::Query query) {
  MutexLock lock(mu_);
  UpdateSilence();
  PassOverDistrusted(query);
  for (bool some_are_full = false;; some_are_full = true) {
    absl::StatusOr<decision::Decision> decision =
        policy.Decide(query, {.workers = views_, .variants = experience_.views()});
    if (!decision.ok()) {
      return some_are_full ? AllFull(decision.status()) : ForClient(decision.status());
    }
    const std::size_t index = decision->worker;
    CHECK(index < views_.size(), "a policy chooses one of the workers that it was given");
    if (HasRoom(views_[index])) return Give(index, *std::move(decision));
    query.tried.push_back(index);
  }
}

bool WorkerPool::IsUsable(std::size_t index, const decision::Query& query) const {
  const decision::WorkerView& view = views_[index];
  return view.live() && HasRoom(view) && std::ranges::find(query.tried, index) == query.tried.end();
}

void WorkerPool::PassOverDistrusted(decision::Query& query) const {
  const Clock::TimePoint now = clock_.Now();
  std::vector<int> least(variants_.size(), WorkerTrust::kMostDistrust);
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (!IsUsable(i, query)) continue;
    int& of_variant = least[views_[i].variant];
    of_variant = std::min(of_variant, workers_[i].trust.Distrust(now));
  }
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (workers_[i].trust.Distrust(now) > least[views_[i].variant]) query.tried.push_back(i);
  }
}

WorkerLease WorkerPool::Give(std::size_t index, decision::Decision decision) {
  ++views_[index].leased;
  ++views_[index].given;
  workers_[index].trust.Give();
  return WorkerLease(this, workers_[index].client.get(), std::move(decision), clock_.Now());
}

void WorkerPool::UpdateSilence() {
  const Clock::TimePoint now = clock_.Now();
  for (std::size_t i = 0; i < views_.size(); ++i) {
    views_[i].silent_s = ToSeconds(now - workers_[i].heard_at);
  }
}

void WorkerPool::Learn(const WorkerLease& lease, const decision::Taken& taken,
                       double seconds_per_token, double prompt_tokens_per_s) {
  MutexLock lock(mu_);
  experience_.Learn(taken);
  decision::WorkerView& view = views_[lease.decision().worker];
  if (view.live()) LearnPace(seconds_per_token, prompt_tokens_per_s, view);
}

void WorkerPool::Release(const WorkerLease& lease) {
  const std::size_t index = lease.decision_.worker;
  MutexLock lock(mu_);
  --views_[index].leased;
  CHECK(views_[index].leased >= 0, "a lease was released twice");
  workers_[index].trust.TakeBack(lease.stage_ == WorkerLease::Stage::kBegun);
  // Whoever asked has waited for longer than any worker needs, and in vain.
  if (lease.stage_ == WorkerLease::Stage::kGiven && clock_.Now() - lease.since_ > kFirstWord) {
    Distrust(index);
  }
}

void WorkerPool::Take(std::size_t index, void (WorkerTrust::*what)()) {
  MutexLock lock(mu_);
  (workers_[index].trust.*what)();
}

void WorkerPool::TakeFailure(std::size_t index) {
  MutexLock lock(mu_);
  Distrust(index);
}

void WorkerPool::Distrust(std::size_t index) {
  if (workers_[index].trust.Fail(clock_.Now())) {
    LogWarning("a worker is distrusted for a while", {{"worker", views_[index].address}});
  }
}

WorkerPool::VariantState WorkerPool::Describe(std::size_t variant) const {
  VariantState state;
  MutexLock lock(mu_);
  for (const decision::WorkerView& view : views_) {
    if (view.variant != variant) continue;
    ++state.configured;
    if (!view.status) continue;
    if (view.status->draining) {
      ++state.draining;
      continue;
    }
    ++state.live;
    state.queued += view.status->queued;
    state.running += view.status->running;
    state.max_model_len = std::max(state.max_model_len, view.status->max_model_len);
  }
  const std::set<std::string> fingerprints = FingerprintsOf(variant);
  state.fingerprints.assign(fingerprints.begin(), fingerprints.end());
  return state;
}

std::set<std::string> WorkerPool::FingerprintsOf(std::size_t variant) const {
  std::set<std::string> fingerprints;
  for (const decision::WorkerView& view : views_) {
    if (view.variant == variant && view.live()) fingerprints.insert(view.status->fingerprint);
  }
  return fingerprints;
}

bool WorkerPool::UpdateFingerprints(std::size_t variant) {
  std::set<std::string> fingerprints = FingerprintsOf(variant);
  if (fingerprints == fingerprints_[variant]) return false;
  if (fingerprints.size() > 1) {
    LogWarning(
        "live workers of one variant have different fingerprints",
        {{"variant", variants_[variant].name}, {"fingerprints", absl::StrJoin(fingerprints, " ")}});
  }
  fingerprints_[variant] = std::move(fingerprints);
  return true;
}

bool WorkerPool::AnyLive() const {
  MutexLock lock(mu_);
  return std::ranges::any_of(views_, &decision::WorkerView::live);
}

void WorkerPool::LogChange(const decision::WorkerView& worker) const {
  if (stopping_) return;
  const bool meant = worker.live() || (worker.status && worker.status->draining);
  Log(meant ? LogLevel::kInfo : LogLevel::kWarning,
      worker.live() ? "worker is live" : "worker is not live",
      {{"variant", variants_[worker.variant].name},
       {"worker", worker.address},
       {"why", worker.why_not}});
}

}  // namespace thinkwire::router::fleet
