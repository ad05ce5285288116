#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/config.h"
#include "router/worker_status.h"

namespace thinkwire::router {

class WorkerClient;
class WorkerPool;

// A request's place on a worker, counted as load until it is released.
class WorkerLease {
 public:
  WorkerLease(WorkerLease&& other) noexcept;
  WorkerLease& operator=(WorkerLease&&) = delete;
  ~WorkerLease();

  const WorkerClient& client() const { return *client_; }
  const std::string& reason() const { return reason_; }

 private:
  friend class WorkerPool;
  WorkerLease(WorkerPool* pool, std::size_t worker, const WorkerClient* client, std::string reason);

  WorkerPool* pool_;  // null after a move
  const std::size_t worker_;
  const WorkerClient* const client_;
  const std::string reason_;
};

// The workers of all variants: who lives, who has least to do.
// A worker is live while its status stream speaks (at least every kSilence), it serves its
// variant's model, and it is not draining. A stream that ends is begun again, later each time.
// Owns: the clients, a thread. Threads: any.
class WorkerPool {
 public:
  static constexpr Clock::Duration kSilence = std::chrono::seconds(3);
  static constexpr Clock::Duration kFirstRetry = std::chrono::milliseconds(100);
  static constexpr Clock::Duration kLastRetry = std::chrono::seconds(5);

  // `clock` outlives the pool. `on_change` is called, on any thread and without a lock held, when a
  // worker has become live or has ceased to be.
  WorkerPool(const RouterConfig& config, const Clock& clock, std::function<void()> on_change);
  ~WorkerPool();  // Stop

  // Runs Tick every 50 ms of real time until Stop.
  void Start();
  // Ends watches and thread. Leases may live on until the pool is destroyed. Idempotent.
  void Stop();

  // Begins the watches that are due, and gives up on workers that are silent.
  void Tick();

  // Waits until each worker has spoken or failed once, at most `timeout`.
  void WaitForFirstContact(Clock::Duration timeout);

  // The least loaded live worker of a variant: fewest requests for its size, then most free KV
  // blocks, then the one that was given fewest. Fails: UNAVAILABLE none is live, with the reason of
  // one of them.
  absl::StatusOr<WorkerLease> Pick(std::size_t variant);

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
  struct Worker {
    std::size_t variant = 0;
    std::unique_ptr<WorkerClient> client;
    std::shared_ptr<StatusWatch> watch;  // while one runs
    bool watching = false;               // until its end was told
    std::optional<WorkerStatus> status;  // while it speaks
    Clock::TimePoint heard_at;
    Clock::TimePoint next_watch;
    int failures = 0;  // watches that ended without a word, in a row
    bool contacted = false;
    std::string why_not;  // why it is not live, for people
    std::int64_t leased = 0;
    std::int64_t given = 0;
  };

  bool IsLive(const Worker& worker) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsLessLoaded(const Worker& a, const Worker& b) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status NoneLive(std::size_t variant) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool ServesVariant(const Worker& worker, const std::string& served_name) const;
  void BeginWatch(std::size_t index);
  void OnStatus(std::size_t index, WorkerStatus status);
  void OnWatchEnd(std::size_t index, const absl::Status& status);
  void LogChange(const Worker& worker, bool live) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Release(std::size_t index);

  const std::vector<VariantConfig> variants_;
  const Clock& clock_;
  const std::function<void()> on_change_;

  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Worker> workers_ ABSL_GUARDED_BY(mu_);  // of fixed size; clients stay where they are
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router
