#include "worker/serve/text_pool.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::serve {

TextPool::TextPool(int num_threads, std::size_t max_jobs, const Clock& clock)
    : most_long_(std::max(1, num_threads - 1)),
      clock_(clock),
      places_(static_cast<std::int64_t>(max_jobs)) {
  CHECK(num_threads >= 1 && max_jobs >= 1, "a pool without threads or without a queue");
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Work(); });
}

TextPool::~TextPool() { Stop(); }

bool TextPool::TryPost(const std::string& peer, std::size_t bytes, std::function<void()> job) {
  auto place = places_.Take(peer, 1);
  if (!place) return false;
  using Length = PromptQueue::Length;
  const Length length = bytes < kLongBytes ? Length::kShort : Length::kLong;
  {
    MutexLock lock(mu_);
    if (stopping_) return false;
    prompts_.Add(peer, bytes, length, clock_.Now(), {std::move(job), *std::move(place)});
  }
  work_.NotifyOne();
  return true;
}

void TextPool::Enqueue(std::function<void()> run) {
  {
    MutexLock lock(mu_);
    streams_.push_back(std::move(run));
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

std::optional<TextPool::Next> TextPool::TryTake(Clock::TimePoint now) {
  if (!streams_.empty()) {
    Next next{.run = std::move(streams_.front())};
    streams_.pop_front();
    streams_busy_until_ = now + kStreamsPause;
    return next;
  }
  const bool long_too = long_running_ < most_long_ && Rest(now) == Clock::Duration{};
  auto prompt = prompts_.Take(long_too || stopping_);
  if (!prompt) return std::nullopt;
  const bool is_long = prompt->length == PromptQueue::Length::kLong;
  if (is_long) ++long_running_;
  return Next{std::move(prompt->job.run), is_long};
}

Clock::Duration TextPool::Rest(Clock::TimePoint now) const {
  return std::max(std::min(long_rests_until_, streams_busy_until_) - now, Clock::Duration{});
}

std::optional<TextPool::Next> TextPool::Take() {
  MutexLock lock(mu_);
  while (true) {
    const Clock::TimePoint now = clock_.Now();
    if (std::optional<Next> next = TryTake(now); next || stopping_) return next;
    const Clock::Duration rest = Rest(now);
    if (rest == Clock::Duration{} || prompts_.empty()) {
      work_.Wait(mu_);
    } else {
      work_.WaitFor(mu_, rest);
    }
  }
}

void TextPool::RunLong(const std::function<void()>& run) {
  const Clock::TimePoint begin = clock_.Now();
  run();
  const Clock::TimePoint end = clock_.Now();
  {
    MutexLock lock(mu_);
    --long_running_;
    long_rests_until_ = std::max(long_rests_until_, end + kRest * (end - begin));
  }
  work_.NotifyOne();
}

void TextPool::Work() {
  while (const std::optional<Next> next = Take()) {
    next->is_long ? RunLong(next->run) : next->run();
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
