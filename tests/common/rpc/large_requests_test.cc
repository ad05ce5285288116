#include "common/rpc/large_requests.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kLarge = LargeRequests::kLargeBytes;

TEST(LargeRequests, RefusesWhatWouldExceedTheLimitUntilThereIsRoom) {
  LargeRequests requests(3 * kLarge);
  auto first = requests.Admit(kLarge);
  auto second = requests.Admit(2 * kLarge);
  ASSERT_TRUE(first.ok() && second.ok());
  const auto refused = requests.Admit(kLarge);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(refused.status()), "TOO_MANY_LARGE_REQUESTS");
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  EXPECT_NE(refused.status().message().find(std::to_string(3 * kLarge)), std::string::npos);

  *first = {};
  EXPECT_FALSE(requests.Admit(kLarge + 1).ok());  // the refused ones took nothing
  EXPECT_TRUE(requests.Admit(kLarge).ok());       // and gives it back at once
  EXPECT_TRUE(requests.Admit(kLarge).ok());
}

TEST(LargeRequests, SmallOnesAlwaysPass) {
  LargeRequests requests(kLarge);
  const auto large = requests.Admit(kLarge);
  ASSERT_TRUE(large.ok());
  std::vector<LargeRequests::Share> small;
  for (int i = 0; i < 100; ++i) {
    auto share = requests.Admit(kLarge - 1);
    ASSERT_TRUE(share.ok()) << share.status();
    small.push_back(*std::move(share));
  }
}

TEST(LargeRequests, AShareThatIsMovedIsGivenBackOnce) {
  LargeRequests requests(kLarge);
  std::optional<LargeRequests::Share> last;
  {
    auto share = requests.Admit(kLarge);
    ASSERT_TRUE(share.ok());
    LargeRequests::Share moved = *std::move(share);
    last.emplace(std::move(moved));
  }
  EXPECT_FALSE(requests.Admit(kLarge).ok());
  last.reset();
  EXPECT_TRUE(requests.Admit(kLarge).ok());
  EXPECT_FALSE(requests.Admit(kLarge + 1).ok());
}

TEST(LargeRequests, NeverMoreThanTheLimitFromManyThreads) {
  constexpr std::size_t kRoom = 3;
  LargeRequests requests(kRoom * kLarge);
  std::atomic<std::size_t> in_hand = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        const auto share = requests.Admit(kLarge);
        if (!share.ok()) continue;
        EXPECT_LE(++in_hand, kRoom);
        --in_hand;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(requests.Admit(kRoom * kLarge).ok());
}

}  // namespace
}  // namespace thinkwire::rpc
