#include "worker/serve/heartbeats.h"

#include <utility>

namespace thinkwire::worker::serve {

Heartbeats::Heartbeats(Clock::Duration interval)
    : interval_(interval), thread_([this] { Run(); }) {}

Heartbeats::~Heartbeats() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void Heartbeats::Add(std::weak_ptr<Stream> stream) {
  MutexLock lock(mu_);
  streams_.push_back(std::move(stream));
}

void Heartbeats::Run() {
  while (Wait()) BeatAll();
}

bool Heartbeats::Wait() {
  const Clock::TimePoint next = Clock::Real().Now() + interval_;
  MutexLock lock(mu_);
  for (;;) {
    const Clock::Duration left = next - Clock::Real().Now();
    if (stopping_ || left <= Clock::Duration::zero()) return !stopping_;
    changed_.WaitFor(mu_, left);
  }
}

void Heartbeats::BeatAll() {
  std::vector<std::shared_ptr<Stream>> alive;
  {
    MutexLock lock(mu_);
    std::erase_if(streams_, [](const auto& stream) { return stream.expired(); });
    for (const auto& stream : streams_) {
      if (auto locked = stream.lock()) alive.push_back(std::move(locked));
    }
  }
  for (const auto& stream : alive) stream->Beat();
}

}  // namespace thinkwire::worker::serve
