#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/channel.h"
#include "router/decision/experience.h"
#include "router/decision/policy.h"
#include "router/decision/worker_view.h"
#include "router/fleet/silence.h"
#include "router/fleet/worker_lease.h"
#include "router/fleet/worker_trust.h"
#include "router/variant_config.h"

namespace thinkwire::router::fleet {

class StatusWatch;
class WorkerClient;

// The workers of all variants: who lives, and what each has to do.
// A worker is live while its status stream speaks (at least every kSilence), it serves its
// variant's model with the fingerprint that the variant requires, and it is not draining. A stream
// that ends is begun again, later each time. One that leaves requests without a word, or breaks the
// contract, is live but distrusted (WorkerTrust). Different fingerprints under one variant are
// warned of in the log, once a change.
// Owns: the clients, a thread. Threads: any.
class WorkerPool {
 public:
  static constexpr Clock::Duration kSilence = std::chrono::seconds(3);
  static constexpr Clock::Duration kFirstRetry = std::chrono::milliseconds(100);
  static constexpr Clock::Duration kLastRetry = std::chrono::seconds(5);

  // Is given the pool, which may not be known yet to whoever made it.
  using OnChange = std::function<void(const WorkerPool& pool)>;

  // `clock` outlives the pool. `on_change` is called, on any thread and without a lock held, when a
  // worker has become live or has ceased to be, or the live ones of a variant have other
  // fingerprints.
  WorkerPool(std::vector<VariantConfig> variants, const Clock& clock, OnChange on_change,
             const Patience& patience = {}, const rpc::ChannelSecurity& security = {});
  ~WorkerPool();  // Stop

  // Runs Tick every 50 ms of real time until Stop.
  void Start();
  // Ends watches and thread. Leases may live on until the pool is destroyed. Idempotent.
  void Stop();

  // Begins the watches that are due, and gives up on workers that are silent, and attempts too.
  void Tick();

  // Waits until each worker has spoken or failed once, at most `timeout`.
  void WaitForFirstContact(Clock::Duration timeout);

  // Has the policy decide, and counts the request as its worker's load, in one step: whoever asks
  // next sees it. The policy runs under the pool's lock; it is pure, and so never blocks. Of each
  // variant it sees those that are trusted most; what a worker says of itself comes after what it
  // does. A worker that has as many requests of this router as it can have of anybody
  // (MaxRequestsOfWorker) is passed over: one more would wait in the connection, unseen. Fails,
  // with what a client may be told: NOT_FOUND VARIANT_NOT_FOUND, FAILED_PRECONDITION
  // NO_VARIANT_FITS, UNAVAILABLE NO_LIVE_WORKER, RESOURCE_EXHAUSTED QUEUE_FULL where some were
  // passed over; the latter two with the variant's name as the metadata "variant".
  absl::StatusOr<WorkerLease> Lease(const decision::Policy& policy, decision::Query query);

  // Takes in what a request has taken of the leased worker, and how fast it was (LearnPace), for
  // decisions to come.
  void Learn(const WorkerLease& lease, const decision::Taken& taken, double seconds_per_token,
             double prompt_tokens_per_s);

  struct VariantState {
    std::int32_t configured = 0;
    std::int32_t live = 0;
    std::int32_t draining = 0;
    std::int32_t queued = 0;
    std::int32_t running = 0;
    std::int32_t max_model_len = 0;
    std::vector<std::string> fingerprints;  // different ones, ascending
  };
  VariantState Describe(std::size_t variant) const;
  bool AnyLive() const;

 private:
  friend class WorkerLease;
  // What belongs to a worker beside its view.
  struct Worker {
    std::unique_ptr<WorkerClient> client;
    WorkerTrust trust;
    std::shared_ptr<StatusWatch> watch;  // while one runs
    bool watching = false;               // until its end was told
    Clock::TimePoint heard_at;
    Clock::TimePoint next_watch;
    int failures = 0;  // watches that ended without a word, in a row
    bool contacted = false;
  };

  // Gives up on a worker that is watched but silent. Whether it was live.
  bool Silence(std::size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginWatch(std::size_t index);
  void OnStatus(std::size_t index, absl::StatusOr<decision::WorkerStatus> status);
  // What it said last, or why that does not count.
  static void SetStatus(const VariantConfig& variant, absl::StatusOr<decision::WorkerStatus> status,
                        decision::WorkerView& view);
  void OnWatchEnd(std::size_t index, const absl::Status& status);
  // How old each worker's status is now.
  void UpdateSilence() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the live workers of the variant have other fingerprints than when last asked.
  bool UpdateFingerprints(std::size_t variant) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::set<std::string> FingerprintsOf(std::size_t variant) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LogChange(const decision::WorkerView& worker) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // What leases tell.
  void Take(std::size_t index, void (WorkerTrust::*what)());
  void TakeFailure(std::size_t index);
  void Release(const WorkerLease& lease);
  void Distrust(std::size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  WorkerLease Give(std::size_t index, decision::Decision decision)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsUsable(std::size_t index, const decision::Query& query) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Has the policy choose among the most trusted workers of each variant alone.
  void PassOverDistrusted(decision::Query& query) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::vector<VariantConfig> variants_;
  const Clock& clock_;
  const OnChange on_change_;

  mutable Mutex mu_;
  CondVar changed_;
  // Of fixed size, a worker at the same index in both; clients stay where they are.
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mu_);
  std::vector<decision::WorkerView> views_ ABSL_GUARDED_BY(mu_);
  decision::Experience experience_ ABSL_GUARDED_BY(mu_);
  std::vector<std::set<std::string>> fingerprints_ ABSL_GUARDED_BY(mu_);  // by variant
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router::fleet
