#include "worker/engine/mask_pool.h"

#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

MaskPool::MaskPool(int num_threads, std::size_t max_waiting, std::function<void()> on_done)
    : max_waiting_(max_waiting), on_done_(std::move(on_done)) {
  CHECK(num_threads >= 1, "someone finds the masks");
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

MaskPool::~MaskPool() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    posted_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

bool MaskPool::TryPost(std::function<void()> job) {
  MutexLock lock(mu_);
  if (waiting_.size() >= max_waiting_) return false;
  waiting_.push_back(std::move(job));
  ++undone_;
  posted_.NotifyOne();
  return true;
}

void MaskPool::WaitUntilIdle(std::chrono::microseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  MutexLock lock(mu_);
  while (undone_ > 0) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero() || !idle_.WaitFor(mu_, left)) return;
  }
}

void MaskPool::Work() {
  while (true) {
    std::function<void()> job;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !stopping_) posted_.Wait(mu_);
      if (stopping_) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
    }
    job();
    {
      MutexLock lock(mu_);
      if (--undone_ == 0) idle_.NotifyAll();
    }
    on_done_();
  }
}

}  // namespace thinkwire::worker::engine
