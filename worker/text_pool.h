#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "common/mutex.h"

namespace thinkwire::worker {

// The few threads that render, tokenise, detokenise and match stop strings, so that neither the
// engine thread nor gRPC's threads do.
// Threads: all public functions from any thread; none waits for a job.
class TextPool {
 public:
  // At most `max_jobs` >= 1 jobs of TryPost wait.
  TextPool(int num_threads, std::size_t max_jobs);
  ~TextPool();  // Stop()
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  // Runs `job` soon, unless max_jobs wait already or the pool has stopped: then false.
  bool TryPost(std::function<void()> job);

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

  void Enqueue(std::function<void()> run);
  void Work();

  const std::size_t max_jobs_;
  Mutex mu_;
  CondVar work_;
  std::deque<Job> queue_ ABSL_GUARDED_BY(mu_);
  std::size_t num_counted_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace thinkwire::worker
