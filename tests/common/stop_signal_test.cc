#include "common/stop_signal.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <initializer_list>

namespace thinkwire {
namespace {

constexpr std::initializer_list<int> kSurvived = {SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ};

[[noreturn]] void ExitWithTheStopSignal() {
  CatchStopSignals();
  raise(SIGTERM);
  exit(WaitForStopSignal());
}

TEST(StopSignalDeathTest, OthersAreLoggedAndEndNothing) {
  const auto serve = [] {
    SurviveSignals();
    for (const int signal : kSurvived) raise(signal);
    ExitWithTheStopSignal();
  };
  EXPECT_EXIT(serve(), testing::ExitedWithCode(SIGTERM), "SIGHUP\"}\n.*SIGUSR1\"}\n.*SIGUSR2\"}\n");
}

TEST(StopSignalDeathTest, AHangupIsForWhoeverAsksForIt) {
  const auto serve = [] {
    SurviveSignals();
    CatchStopSignals();
    for (const int signal : {SIGHUP, SIGUSR1}) raise(signal);
    int hangups = 0;
    exit(WaitForStopSignal([&] {
      if (++hangups == 1) raise(SIGHUP);
      if (hangups == 2) raise(SIGTERM);
    }));
  };
  EXPECT_EXIT(serve(), testing::ExitedWithCode(SIGTERM), "SIGUSR1\"}\n");
}

TEST(StopSignalDeathTest, EndsAServerThatIsNotYetServing) {
  const auto start = [] {
    SurviveSignals();
    raise(SIGTERM);
  };
  EXPECT_EXIT(start(), testing::KilledBySignal(SIGTERM), "");
}

TEST(StopSignalDeathTest, ASecondOneEndsTheProcess) {
  const auto serve = [] {
    SurviveSignals();
    CatchStopSignals();
    raise(SIGTERM);
    raise(SIGINT);
  };
  EXPECT_EXIT(serve(), testing::ExitedWithCode(128 + SIGINT), "");
}

TEST(StopSignalDeathTest, ComesThroughThoughTheParentHadBlockedIt) {
  const auto serve = [] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    SurviveSignals();
    ExitWithTheStopSignal();
  };
  EXPECT_EXIT(serve(), testing::ExitedWithCode(SIGTERM), "");
}

}  // namespace
}  // namespace thinkwire
