// Loaded before the C library into a process under test (LD_PRELOAD): its wall clock is ahead of
// the machine's by the seconds that the file named by THINKWIRE_WALL_CLOCK_FILE holds, an int64_t
// that another process may change at any time. Waits until a time of the wall clock follow it, as
// the kernel's follow a step of the machine's.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;  // in nanoseconds, as all here
constexpr std::int64_t kLookEvery = 20'000'000;  // how soon a wait sees a jump

template <class Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

int RealClock(clockid_t id, timespec* now) {
  static const auto next = Next<int(clockid_t, timespec*)>("clock_gettime");
  return next(id, now);
}

std::int64_t Ahead() {
  static const std::atomic<std::int64_t>* const seconds = [] {
    static const std::atomic<std::int64_t> none = 0;
    const char* path = std::getenv("THINKWIRE_WALL_CLOCK_FILE");
    const int file = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return &none;
    void* mapped = mmap(nullptr, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    return mapped == MAP_FAILED ? &none : static_cast<const std::atomic<std::int64_t>*>(mapped);
  }();
  return *seconds * kSecond;
}

std::int64_t ToNanos(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }
timespec ToTimespec(std::int64_t nanos) {
  return {.tv_sec = nanos / kSecond, .tv_nsec = nanos % kSecond};
}

std::int64_t WallNanos() {
  timespec now{};
  RealClock(CLOCK_REALTIME, &now);
  return ToNanos(now) + Ahead();
}

long RealSyscall(long number, const long* a) {
  static const auto next = Next<long(long, ...)>("syscall");
  return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// FUTEX_WAIT_BITSET until a time of the wall clock, which the kernel does not know: sleeps on the
// monotonic clock and looks again.
long WaitOnWallClock(const long* arguments) {
  const std::int64_t until = ToNanos(*reinterpret_cast<const timespec*>(arguments[3]));
  for (;;) {
    const std::int64_t left = std::max<std::int64_t>(until - WallNanos(), 0);
    timespec monotonic{};
    RealClock(CLOCK_MONOTONIC, &monotonic);
    const timespec wake = ToTimespec(ToNanos(monotonic) + std::min(left, kLookEvery));
    const long bounded[6] = {arguments[0], arguments[1] & ~FUTEX_CLOCK_REALTIME,
                             arguments[2], reinterpret_cast<long>(&wake),
                             arguments[4], arguments[5]};
    const long result = RealSyscall(SYS_futex, bounded);
    if (result != -1 || errno != ETIMEDOUT || left <= kLookEvery) return result;
  }
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t id, timespec* now) noexcept {
  const int result = RealClock(id, now);
  if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
    *now = ToTimespec(ToNanos(*now) + Ahead());
  }
  return result;
}

int gettimeofday(timeval* now, void* /*zone*/) noexcept {
  const std::int64_t nanos = WallNanos();
  *now = {.tv_sec = nanos / kSecond, .tv_usec = nanos % kSecond / 1000};
  return 0;
}

time_t time(time_t* out) noexcept {
  const time_t now = WallNanos() / kSecond;
  if (out != nullptr) *out = now;
  return now;
}

// Abseil, and gRPC through it, wait by futexes of their own.
long syscall(long number, ...) noexcept {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  constexpr long kWait = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
  if (number == SYS_futex && (arguments[1] & ~FUTEX_PRIVATE_FLAG) == kWait && arguments[3] != 0) {
    return WaitOnWallClock(arguments);
  }
  return RealSyscall(number, arguments);
}

}  // extern "C"
