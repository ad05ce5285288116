#include "worker/serve/text_pool.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::serve {

TextPool::TextPool(int num_threads, std::size_t max_jobs, const Clock& clock)
    : max_jobs_(max_jobs), most_long_(std::max(1, num_threads - 1)), clock_(clock) {
  CHECK(num_threads >= 1 && max_jobs >= 1, "a pool without threads or without a queue");
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

TextPool::~TextPool() { Stop(); }

bool TextPool::TryPost(std::size_t bytes, std::function<void()> job) {
  const Clock::TimePoint due =
      clock_.Now() + static_cast<Clock::Duration::rep>(bytes) * kDelayPerByte;
  {
    MutexLock lock(mu_);
    if (stopping_ || num_counted_ >= max_jobs_) return false;
    ++num_counted_;
    (bytes < kLongBytes ? short_ : long_).emplace(due, Job{std::move(job), true});
  }
  work_.NotifyOne();
  return true;
}

void TextPool::Enqueue(std::function<void()> run) {
  const Clock::TimePoint now = clock_.Now();
  {
    MutexLock lock(mu_);
    short_.emplace(now, Job{std::move(run), false});
  }
  work_.NotifyOne();
}

void TextPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  work_.NotifyAll();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

TextPool::Queue* TextPool::NextQueue() {
  const bool may_be_long = !long_.empty() && (long_running_ < most_long_ || stopping_);
  if (short_.empty()) return may_be_long ? &long_ : nullptr;
  return may_be_long && long_.begin()->first < short_.begin()->first ? &long_ : &short_;
}

void TextPool::Work() {
  while (true) {
    Job job;
    bool is_long = false;
    {
      MutexLock lock(mu_);
      Queue* queue = nullptr;
      while ((queue = NextQueue()) == nullptr && !stopping_) work_.Wait(mu_);
      if (queue == nullptr) return;
      is_long = queue == &long_;
      job = std::move(queue->begin()->second);
      queue->erase(queue->begin());
      if (job.counted) --num_counted_;
      if (is_long) ++long_running_;
    }
    job.run();
    if (is_long) {
      MutexLock lock(mu_);
      --long_running_;
    }
  }
}

void TextPool::Serial::Schedule() {
  {
    MutexLock lock(mu_);
    switch (state_) {
      case State::kIdle:
        state_ = State::kQueued;
        break;
      case State::kRunning:
        state_ = State::kRunningAgain;
        return;
      case State::kQueued:
      case State::kRunningAgain:
        return;
    }
  }
  pool_.Enqueue([self = shared_from_this()] { self->RunOnce(); });
}

void TextPool::Serial::RunOnce() {
  {
    MutexLock lock(mu_);
    state_ = State::kRunning;
  }
  Run();
  {
    MutexLock lock(mu_);
    if (state_ == State::kRunning) {
      state_ = State::kIdle;
      return;
    }
    state_ = State::kQueued;
  }
  // Behind the other streams, so that a busy one starves nobody.
  pool_.Enqueue([self = shared_from_this()] { self->RunOnce(); });
}

}  // namespace thinkwire::worker::serve
