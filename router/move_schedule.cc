#include "router/move_schedule.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace thinkwire::router {
namespace {

constexpr std::chrono::milliseconds kTick{10};
constexpr Clock::Duration kBetweenMoves =
    std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(1 / kMovesASecond));

}  // namespace

void MoveSchedule::Start() {
  thread_ = std::thread([this] {
    for (;;) {
      Tick();
      MutexLock lock(mu_);
      if (stopping_) return;
      waiters_.empty() ? changed_.Wait(mu_) : static_cast<void>(changed_.WaitFor(mu_, kTick));
    }
  });
}

void MoveSchedule::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

Clock::TimePoint MoveSchedule::TakePlace() {
  MutexLock lock(mu_);
  next_place_ = std::max(next_place_ + kBetweenMoves, clock_.Now());
  return next_place_ - kBetweenMoves * (kMovesAtOnce - 1);
}

Clock::TimePoint MoveSchedule::TakePlaceOfSuspect() {
  const Clock::TimePoint place = TakePlace();
  MutexLock lock(mu_);
  const Clock::TimePoint now = clock_.Now();
  const Clock::TimePoint alone = std::clamp(next_suspect_, now, now + kLongestSuspectWait);
  next_suspect_ = alone + kBetweenSuspects;
  return std::max(place, alone);
}

void MoveSchedule::CallAt(Clock::TimePoint time, std::weak_ptr<Waiter> waiter) {
  MutexLock lock(mu_);
  waiters_.emplace(time, std::move(waiter));
  changed_.NotifyAll();
}

std::vector<std::weak_ptr<MoveSchedule::Waiter>> MoveSchedule::TakeDue() {
  std::vector<std::weak_ptr<Waiter>> due;
  MutexLock lock(mu_);
  const auto end = stopping_ ? waiters_.begin() : waiters_.upper_bound(clock_.Now());
  for (auto entry = waiters_.begin(); entry != end; ++entry) due.push_back(entry->second);
  waiters_.erase(waiters_.begin(), end);
  return due;
}

void MoveSchedule::Tick() {
  for (const std::weak_ptr<Waiter>& waiter : TakeDue()) {
    if (const std::shared_ptr<Waiter> alive = waiter.lock()) alive->OnTurn();
  }
}

}  // namespace thinkwire::router
