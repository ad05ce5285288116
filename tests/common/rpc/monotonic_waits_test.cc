#include "common/rpc/monotonic_waits.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

// What becomes of a step of the clock is tested with processes whose clock can be set.
namespace thinkwire::rpc {
namespace {

class MonotonicWaitsTest : public testing::Test {
 protected:
  MonotonicWaitsTest() { WaitByMonotonicClock(); }

  // Waits, while the word is 0, until a time of the wall clock. Its errno, 0 if it was woken.
  int WaitUntil(timespec wall) {
    const long result = syscall(SYS_futex, &word_, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0,
                                &wall, nullptr, FUTEX_BITSET_MATCH_ANY);
    return result == 0 ? 0 : errno;
  }

  std::atomic<std::int32_t> word_ = 0;
};

TEST_F(MonotonicWaitsTest, OthersThanThisOneAreTheCLibrarys) {
  EXPECT_EQ(syscall(SYS_getpid), getpid());
  EXPECT_EQ(syscall(SYS_close, -1), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0), 0);
}

TEST_F(MonotonicWaitsTest, EndWhenTheirTimeHasCome) {
  EXPECT_EQ(WaitUntil({.tv_sec = 1, .tv_nsec = 0}), ETIMEDOUT);
  timespec soon{};
  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec += 1;
  timespec begin{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  EXPECT_EQ(WaitUntil(soon), ETIMEDOUT);
  timespec end{};
  clock_gettime(CLOCK_MONOTONIC, &end);
  EXPECT_GE(end.tv_sec * 1000 + end.tv_nsec / 1'000'000,
            begin.tv_sec * 1000 + begin.tv_nsec / 1'000'000 + 990);
}

TEST_F(MonotonicWaitsTest, EndWhenTheyAreWokenHoweverFarTheirTimeIs) {
  std::atomic<bool> woken = false;
  std::thread waker([&] {
    while (!woken) syscall(SYS_futex, &word_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  });
  for (const time_t second : {time_t{1} << 33, std::numeric_limits<time_t>::max()}) {
    EXPECT_EQ(WaitUntil({.tv_sec = second, .tv_nsec = 999'999'999}), 0) << second;
  }
  woken = true;
  waker.join();
}

TEST_F(MonotonicWaitsTest, AbseilsEndInTimeToo) {
  absl::Mutex mu;
  absl::CondVar never;
  absl::MutexLock lock(&mu);
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(never.WaitWithTimeout(&mu, absl::Milliseconds(50)));
  EXPECT_GE(absl::Now() - begin, absl::Milliseconds(49));
}

}  // namespace
}  // namespace thinkwire::rpc
