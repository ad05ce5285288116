#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"

namespace thinkwire::worker::serve {

// The few threads that render, tokenise, detokenise and match stop strings, so that neither the
// engine thread nor gRPC's threads do.
//
// Long prompts hold nobody up: what takes long runs on all threads but one, so that a running
// stream's next words and a short prompt find a thread (where there are two or more), and what
// waits runs in the order of its due time, its arrival and kDelayPerByte for each byte of a prompt.
// So a prompt of 1 MiB lets pass what comes within a second, and nothing waits for ever.
// Threads: all public functions from any thread; none waits for a job.
class TextPool {
 public:
  // Some ten times what R1's tokenizer takes, the slowest, and three times its slowest inputs.
  static constexpr Clock::Duration kDelayPerByte = std::chrono::microseconds(1);
  // From here on a prompt takes long: 10 ms with R1's tokenizer, 3 with those of the distills.
  static constexpr std::size_t kLongBytes = std::size_t{128} << 10;

  // At most `max_jobs` >= 1 jobs of TryPost wait. `clock` must outlive the pool.
  TextPool(int num_threads, std::size_t max_jobs, const Clock& clock);
  ~TextPool();  // Stop()
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  // Runs `job`, which reads a prompt of some `bytes`, unless max_jobs wait already or the pool has
  // stopped: then false.
  bool TryPost(std::size_t bytes, std::function<void()> job);

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
  struct Job {
    std::function<void()> run;
    bool counted;  // against max_jobs_
  };
  // By due time; those of one time in the order of their arrival.
  using Queue = std::multimap<Clock::TimePoint, Job>;

  void Enqueue(std::function<void()> run);
  void Work();
  // The queue whose first job is the next to run; null if none may run now.
  Queue* NextQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::size_t max_jobs_;
  const int most_long_;  // that run at once
  const Clock& clock_;
  Mutex mu_;
  CondVar work_;
  Queue short_ ABSL_GUARDED_BY(mu_);
  Queue long_ ABSL_GUARDED_BY(mu_);
  int long_running_ ABSL_GUARDED_BY(mu_) = 0;
  std::size_t num_counted_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace thinkwire::worker::serve
