#include "worker/hub/summed_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace thinkwire::worker::hub {
namespace {

constexpr char kSha256[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

std::string RandomBytes(std::size_t n, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(n, '\0');
  std::ranges::generate(bytes, [&] { return static_cast<char>(random()); });
  return bytes;
}

std::string DigestOf(std::string_view bytes) {
  Digest digest(kSha256, std::ssize(bytes));
  digest.Add(bytes);
  return digest.Result();
}

class SummedFileTest : public testing::Test {
 protected:
  SummedFileTest() { std::filesystem::remove(path_); }
  ~SummedFileTest() override {
    std::error_code gone;
    std::filesystem::remove(path_, gone);
  }

  GrowingFile Open() const { return *GrowingFile::Open(path_); }
  std::string InFile() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
       std::to_string(::getpid()));
};

// Of the whole, of which `there` bytes are there at first and the others come in parts of up to
// `most` bytes.
std::string Summed(GrowingFile begun, std::string_view whole, std::size_t there, std::size_t most,
                   unsigned seed) {
  EXPECT_TRUE(begun.Append(whole.substr(0, there)).ok());
  SummedFile file(std::move(begun), kSha256, std::ssize(whole));
  std::mt19937 random(seed);
  for (std::size_t at = there; at < whole.size();) {
    const std::string_view part = whole.substr(at, 1 + random() % most);
    EXPECT_TRUE(file.Add(part).ok());
    at += part.size();
    EXPECT_EQ(file.size(), static_cast<std::int64_t>(at));
  }
  return file.Finish().value_or("failed");
}

TEST_F(SummedFileTest, HasAllBytesAndTheirDigestHoweverTheyCome) {
  const std::string whole = RandomBytes(3 * SummedFile::kRingBytes + 12345, 1);
  const std::string expected = DigestOf(whole);
  unsigned seed = 0;
  for (const std::size_t most : {70'000, 300'000, 9'000'000}) {
    for (const std::size_t there : {std::size_t{0}, std::size_t{5}, std::size_t{6'000'001}}) {
      std::filesystem::remove(path_);
      EXPECT_EQ(Summed(Open(), whole, there, most, ++seed), expected)
          << there << " bytes, and others up to " << most;
      EXPECT_EQ(InFile(), whole) << there << " bytes, and others up to " << most;
    }
  }
}

TEST_F(SummedFileTest, OfNothingAndOfWhatWasThereAlone) {
  EXPECT_EQ(Summed(Open(), "", 0, 1, 1), DigestOf(""));
  EXPECT_EQ(Summed(Open(), "abc", 3, 1, 1), DigestOf("abc"));
}

TEST_F(SummedFileTest, OneThatIsGivenUpKeepsWhatCame) {
  const std::string bytes = RandomBytes(700'000, 2);
  std::string all;
  {
    SummedFile file(Open(), kSha256, 1 << 30);
    for (int i = 0; i < 9; ++i) {
      ASSERT_TRUE(file.Add(bytes).ok());
      all += bytes;
    }
  }
  EXPECT_EQ(InFile(), all);
}

TEST_F(SummedFileTest, WhatIsFlushedIsInTheFile) {
  SummedFile file(Open(), kSha256, 1 << 30);
  ASSERT_TRUE(file.Flush().ok());
  ASSERT_TRUE(file.Add("abc").ok());
  ASSERT_TRUE(file.Flush().ok());
  EXPECT_EQ(InFile(), "abc");
  ASSERT_TRUE(file.Add("de").ok());
  ASSERT_TRUE(file.Flush().ok());
  EXPECT_EQ(InFile(), "abcde");
}

TEST_F(SummedFileTest, ADiskThatTakesNoMoreIsSaidAndHoldsNobodyUp) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit most{.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &most), 0);
  const std::string bytes = RandomBytes(3 * SummedFile::kRingBytes, 3);
  SummedFile file(Open(), kSha256, std::ssize(bytes));
  EXPECT_EQ(file.Add(bytes).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(file.Flush().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(file.Finish().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(InFile(), bytes.substr(0, 1 << 20));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  (void)std::signal(SIGXFSZ, handler);
}

TEST_F(SummedFileTest, AFileThatCannotBeReadHoldsNobodyUp) {
  GrowingFile begun = Open();
  ASSERT_TRUE(begun.Append(RandomBytes(1 << 20, 4)).ok());
  std::filesystem::resize_file(path_, 0);  // somebody else does
  SummedFile file(std::move(begun), kSha256, 1 << 30);
  EXPECT_EQ(file.Finish().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace thinkwire::worker::hub
