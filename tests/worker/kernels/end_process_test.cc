#include "worker/kernels/end_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>

namespace thinkwire::worker::kernels {
namespace {

// Both spin until the other is there, so that they call within a moment.
[[noreturn]] void EndOnTwoThreads() {
  std::atomic<int> ready = 0;
  const auto fail = [&ready](int device) {
    ++ready;
    while (ready < 2) {
    }
    EndProcess("device %d is lost", device);
  };
  std::thread other(fail, 1);
  fail(0);
  std::_Exit(0);
}

struct Ended {
  int code = 0;
  std::string error;
};

// Much cheaper than a death test, which a race wants many of.
Ended EndChild() {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    EndOnTwoThreads();
  }
  close(ends[1]);
  Ended ended;
  std::array<char, 256> piece{};
  for (ssize_t n = 0; (n = read(ends[0], piece.data(), piece.size())) > 0;) {
    ended.error.append(piece.data(), static_cast<std::size_t>(n));
  }
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  ended.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

TEST(EndProcessTest, OfTwoThreadsThatFailAtOnceOneSpeaks) {
  for (int i = 0; i < 200; ++i) {
    const Ended ended = EndChild();
    ASSERT_EQ(ended.code, 70) << ended.error;
    ASSERT_THAT(ended.error, testing::MatchesRegex("device [01] is lost\n"));
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
