#include "common/last_words.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstddef>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include "common/utf8.h"
#include "tests/sanitized.h"

namespace thinkwire {
namespace {

TEST(LastWords, AreOneShortLineWhateverTheMessageRepeats) {
  EXPECT_EQ(LastWords("p", "a.json: no such file"), "p: a.json: no such file");
  const std::string words = LastWords("p", std::string(1'000'000, '\n'));
  EXPECT_LT(words.size(), 1100U);
  EXPECT_EQ(words.find('\n'), std::string::npos);
  EXPECT_TRUE(IsValidUtf8(LastWords("p", std::string(1022, 'a') + "\u00e9\u00e9")));
}

TEST(EndWith, GivesTheCodeAndWritesTheLine) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(EndWith("p", kExitConfig, absl::InvalidArgumentError("it is wrong")), 78);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "p: it is wrong\n");
}

class SayWhatEndsDeathTest : public testing::Test {
 protected:
  SayWhatEndsDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(SayWhatEndsDeathTest, WhatNobodyCatchesEndsTheProcessInALine) {
  const auto fail = [] {
    SayWhatEnds("p");
    std::thread([] { throw std::runtime_error("no thread can be started"); }).join();
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(70), "^p: no thread can be started\n$");
}

TEST_F(SayWhatEndsDeathTest, SoDoesAnAllocationThatCannotBe) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer ends the process itself";
  const auto fail = [] {
    SayWhatEnds("p");
    // Volatile, as compilers leave out what is allocated and not used.
    volatile std::size_t bytes = std::numeric_limits<std::size_t>::max() / 4;
    volatile char* const memory = new char[bytes];
    memory[0] = 0;
  };
  EXPECT_EXIT(fail(), testing::ExitedWithCode(70), "^p: out of memory\n$");
}

void AllowAddresses(rlim_t bytes) {
  const rlimit limit{.rlim_cur = bytes, .rlim_max = RLIM_INFINITY};
  setrlimit(RLIMIT_AS, &limit);
}

TEST_F(SayWhatEndsDeathTest, ALimitOfAddressesIsNamedWhereItMayBeWhy) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer has reserved more addresses than any limit allows";
  const auto allocate = [] {
    SayWhatEnds("p");
    AllowAddresses(rlim_t{64} << 20);
    volatile std::size_t bytes = std::size_t{1} << 30;
    volatile char* const memory = new char[bytes];
    memory[0] = 0;
  };
  EXPECT_EXIT(allocate(), testing::ExitedWithCode(70),
              "^p: out of memory; ulimit -v allows 65536 KiB of addresses.*\n$");
  const auto start = [] {
    SayWhatEnds("p");
    AllowAddresses(rlim_t{1} << 40);
    // As std::thread does.
    const auto why = std::make_error_code(std::errc::resource_unavailable_try_again);
    std::thread([why] { throw std::system_error(why); }).join();
  };
  EXPECT_EXIT(
      start(), testing::ExitedWithCode(70),
      "^p: no thread can be started: .*; ulimit -v allows 1073741824 KiB of addresses.*\n$");
}

}  // namespace
}  // namespace thinkwire
