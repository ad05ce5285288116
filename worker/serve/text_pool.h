#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/shares.h"
#include "worker/serve/prompt_queue.h"

namespace thinkwire::worker::serve {

// The few threads that render, tokenise, detokenise and match stop strings, so that neither the
// engine thread nor gRPC's threads do.
//
// 1. What running streams have to do goes first, before every prompt that waits.
// 2. Of two threads or more, one takes no long prompt. So a stream's next words wait for one short
//    prompt at most; with one thread only, for one prompt as long as any.
// 3. Prompts run in the order of PromptQueue: the peers' shares are fair, and within a peer's a
// long
//    prompt lets short ones pass.
// 4. While streams run, no long prompt begins after one has ended, until kRest times as long as it
//    took have passed: on a CPU it takes one of the processors that compute the streams' steps.
// Threads: all public functions from any thread; none waits for a job.
class TextPool {
 public:
  // From here on a prompt takes long: 2.5 ms with R1's tokenizer, 11 ms of its slowest inputs.
  static constexpr std::size_t kLongBytes = kLongPromptBytes;
  static constexpr int kRest = 3;
  // Streams run if one had something to do within so long.
  static constexpr Clock::Duration kStreamsPause = std::chrono::milliseconds(50);

  // At most `max_jobs` >= 1 jobs of TryPost wait. `clock` must outlive the pool.
  TextPool(int num_threads, std::size_t max_jobs, const Clock& clock);
  ~TextPool();  // Stop()
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  // Runs `job`, which reads a prompt of some `bytes` for `peer` (of rpc::Shares). False if max_jobs
  // wait already, or the peer's share of them, or the pool has stopped.
  bool TryPost(const std::string& peer, std::size_t bytes, std::function<void()> job);

  // Runs the jobs that wait and joins the threads. Jobs scheduled by them still run. Idempotent.
  void Stop();

  // One stream's work: after each Schedule the body runs at least once, never twice at once.
  // However often it is scheduled, it waits in the queue once, so that the queue is bounded by
  // the number of streams.
  class Serial : public std::enable_shared_from_this<Serial> {
   public:
    virtual ~Serial() = default;

    // The pool keeps this alive until the body has run. Nothing runs once the pool has stopped.
    void Schedule();

   protected:
    explicit Serial(TextPool& pool) : pool_(pool) {}
    virtual void Run() = 0;

   private:
    friend class TextPool;
    enum class State { kIdle, kQueued, kRunning, kRunningAgain };

    void RunOnce();

    TextPool& pool_;
    Mutex mu_;
    State state_ ABSL_GUARDED_BY(mu_) = State::kIdle;
  };

 private:
  void Enqueue(std::function<void()> run);
  void Work();
  struct Next {
    std::function<void()> run;
    bool is_long = false;
  };
  // Waits for what is to run next; nothing once the pool has stopped and nothing is left.
  std::optional<Next> Take();
  // What may run now.
  std::optional<Next> TryTake(Clock::TimePoint now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // For how long no long prompt runs.
  Clock::Duration Rest(Clock::TimePoint now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RunLong(const std::function<void()>& run);

  const int most_long_;  // that run at once
  const Clock& clock_;
  rpc::Shares places_;  // of prompts that wait; their jobs hold them
  Mutex mu_;
  CondVar work_;
  std::deque<std::function<void()>> streams_ ABSL_GUARDED_BY(mu_);
  PromptQueue prompts_ ABSL_GUARDED_BY(mu_);
  int long_running_ ABSL_GUARDED_BY(mu_) = 0;
  Clock::TimePoint long_rests_until_ ABSL_GUARDED_BY(mu_);
  Clock::TimePoint streams_busy_until_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace thinkwire::worker::serve
