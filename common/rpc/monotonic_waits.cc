#include "common/rpc/monotonic_waits.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>

namespace thinkwire::rpc {
namespace {

using Syscall = long(long number, ...);
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr long kWaitForWallClock = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
constexpr seconds kLongest = std::chrono::hours(24 * 365);  // what is longer might overflow

std::atomic<bool> by_monotonic_clock = false;

// The C library's. Not a static of a function: what waits for its beginning is a syscall.
Syscall* Next() {
  static_assert(std::atomic<Syscall*>::is_always_lock_free);
  static constinit std::atomic<Syscall*> next = nullptr;
  if (next == nullptr) next = reinterpret_cast<Syscall*>(dlsym(RTLD_NEXT, "syscall"));
  return next;
}

nanoseconds Now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

// The time of the monotonic clock that is as far from now as `wall`.
timespec OnMonotonicClock(const timespec& wall) {
  const seconds most = std::chrono::duration_cast<seconds>(Now(CLOCK_REALTIME)) + kLongest;
  const nanoseconds until =
      std::clamp(seconds(wall.tv_sec), seconds(0), most) + nanoseconds(wall.tv_nsec);
  const nanoseconds left = std::max(until - Now(CLOCK_REALTIME), nanoseconds(0));
  const nanoseconds monotonic = Now(CLOCK_MONOTONIC) + left;
  const auto whole = std::chrono::duration_cast<seconds>(monotonic);
  return {.tv_sec = whole.count(), .tv_nsec = (monotonic - whole).count()};
}

}  // namespace

void WaitByMonotonicClock() { by_monotonic_clock = true; }

}  // namespace thinkwire::rpc

// Found before the C library's by all that the program is linked with. It reads as many arguments
// as any call may have, and so more than its caller gave.
extern "C" [[gnu::no_sanitize_address]] long syscall(long number, ...) noexcept {
  using namespace thinkwire::rpc;
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  auto& [futex, operation, value, until, second_futex, bits] = arguments;
  timespec monotonic;
  if (by_monotonic_clock && number == SYS_futex && until != 0 &&
      (operation & ~FUTEX_PRIVATE_FLAG) == kWaitForWallClock) {
    monotonic = OnMonotonicClock(*reinterpret_cast<const timespec*>(until));
    operation &= ~FUTEX_CLOCK_REALTIME;
    until = reinterpret_cast<long>(&monotonic);
  }
  return Next()(number, futex, operation, value, until, second_futex, bits);
}
