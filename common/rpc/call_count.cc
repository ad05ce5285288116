#include "common/rpc/call_count.h"

namespace thinkwire::rpc {

CallCount::Token CallCount::Begin() {
  MutexLock lock(mu_);
  ++count_;
  return Token(this);
}

bool CallCount::WaitUntilNone(Clock::Duration timeout) {
  const Clock& clock = Clock::Real();
  const Clock::TimePoint give_up = clock.Now() + timeout;
  MutexLock lock(mu_);
  while (count_ > 0) {
    const Clock::Duration left = give_up - clock.Now();
    if (left <= Clock::Duration::zero()) return false;
    none_.WaitFor(mu_, left);
  }
  return true;
}

void CallCount::End() {
  // Told under the lock: once it is free, the thread that waits may destroy this object.
  MutexLock lock(mu_);
  if (--count_ == 0) none_.NotifyAll();
}

}  // namespace thinkwire::rpc
