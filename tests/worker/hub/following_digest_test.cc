#include "worker/hub/following_digest.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <string_view>
#include <system_error>

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

class FollowingDigestTest : public testing::Test {
 protected:
  FollowingDigestTest() { std::filesystem::remove(path_); }
  ~FollowingDigestTest() override {
    std::error_code gone;
    std::filesystem::remove(path_, gone);
  }

  GrowingFile Open() const { return *GrowingFile::Open(path_); }

  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) +
       std::to_string(::getpid()));
};

// Of the whole, of which `there` bytes are there at first and the others come in parts of up to
// `most` bytes.
std::string Followed(GrowingFile file, std::string_view whole, std::size_t there, std::size_t most,
                     unsigned seed) {
  EXPECT_TRUE(file.Append(whole.substr(0, there)).ok());
  FollowingDigest digest(file, kSha256, std::ssize(whole));
  std::mt19937 random(seed);
  for (std::size_t at = there; at < whole.size();) {
    const std::string_view part = whole.substr(at, 1 + random() % most);
    EXPECT_TRUE(file.Append(part).ok());
    digest.Add(part);
    at += part.size();
  }
  return digest.Finish().value_or("failed");
}

TEST_F(FollowingDigestTest, EqualsTheDigestHoweverTheBytesCome) {
  const std::string whole = RandomBytes(3 * FollowingDigest::kRingBytes + 12345, 1);
  const std::string expected = DigestOf(whole);
  unsigned seed = 0;
  for (const std::size_t most : {70'000, 300'000, 9'000'000}) {
    for (const std::size_t there : {std::size_t{0}, std::size_t{5}, std::size_t{6'000'001}}) {
      std::filesystem::remove(path_);
      EXPECT_EQ(Followed(Open(), whole, there, most, ++seed), expected)
          << there << " bytes, and others up to " << most;
    }
  }
}

TEST_F(FollowingDigestTest, OfNothingAndOfWhatWasThereAlone) {
  EXPECT_EQ(Followed(Open(), "", 0, 1, 1), DigestOf(""));
  EXPECT_EQ(Followed(Open(), "abc", 3, 1, 1), DigestOf("abc"));
}

TEST_F(FollowingDigestTest, MayBeGivenUpAtAnyTime) {
  GrowingFile file = Open();
  const std::string bytes = RandomBytes(1 << 20, 2);
  FollowingDigest digest(file, kSha256, 1 << 30);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(file.Append(bytes).ok());
    digest.Add(bytes);
  }
}

TEST_F(FollowingDigestTest, AFileThatCannotBeReadHoldsNobodyUp) {
  GrowingFile file = Open();
  ASSERT_TRUE(file.Append(RandomBytes(1 << 20, 3)).ok());
  std::filesystem::resize_file(path_, 0);  // somebody else does
  FollowingDigest digest(file, kSha256, 1 << 30);
  const std::string bytes(4 * FollowingDigest::kRingBytes, 'x');
  digest.Add(bytes);
  EXPECT_EQ(digest.Finish().status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace thinkwire::worker::hub
