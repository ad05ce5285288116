#include "worker/text_pool.h"

#include <utility>

#include "common/check.h"

namespace thinkwire::worker {

TextPool::TextPool(int num_threads, std::size_t max_jobs) : max_jobs_(max_jobs) {
  CHECK(num_threads >= 1 && max_jobs >= 1, "a pool without threads or without a queue");
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

TextPool::~TextPool() { Stop(); }

bool TextPool::TryPost(std::function<void()> job) {
  {
    MutexLock lock(mu_);
    if (stopping_ || num_counted_ >= max_jobs_) return false;
    ++num_counted_;
    queue_.push_back({std::move(job), true});
  }
  work_.NotifyOne();
  return true;
}

void TextPool::Enqueue(std::function<void()> run) {
  {
    MutexLock lock(mu_);
    queue_.push_back({std::move(run), false});
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

void TextPool::Work() {
  while (true) {
    Job job;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) work_.Wait(mu_);
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
      if (job.counted) --num_counted_;
    }
    job.run();
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

}  // namespace thinkwire::worker
