#include "common/rpc/request_bytes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kLarge = RequestBytes::kLargeBytes;

constexpr char kTrusted[] = "";  // whom no share limits

TEST(RequestBytes, RefusesWhatWouldExceedTheLimitUntilThereIsRoom) {
  RequestBytes requests(3 * kLarge);
  auto first = requests.Admit(kTrusted, kLarge);
  auto second = requests.Admit(kTrusted, 2 * kLarge);
  ASSERT_TRUE(first.ok() && second.ok());
  const auto refused = requests.Admit(kTrusted, kLarge);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(refused.status()), "TOO_MANY_REQUEST_BYTES");
  EXPECT_TRUE(RetryAfter(refused.status()).has_value());
  EXPECT_NE(refused.status().message().find(std::to_string(3 * kLarge)), std::string::npos);

  *first = {};
  EXPECT_FALSE(requests.Admit(kTrusted, kLarge + 1).ok());  // the refused ones took nothing
  EXPECT_TRUE(requests.Admit(kTrusted, kLarge).ok());       // and gives it back at once
  EXPECT_TRUE(requests.Admit(kTrusted, kLarge).ok());
}

TEST(RequestBytes, LargeOnesAndSmallOnesShutEachOtherOutNever) {
  RequestBytes requests(kLarge, kLarge);
  const auto large = requests.Admit(kTrusted, kLarge);
  ASSERT_TRUE(large.ok());
  const auto small = requests.Admit(kTrusted, kLarge - 1);
  ASSERT_TRUE(small.ok()) << small.status();
  EXPECT_FALSE(requests.Admit(kTrusted, 2).ok());
  EXPECT_TRUE(requests.Admit(kTrusted, 1).ok());
}

TEST(RequestBytes, OnePeerLeavesRoomToAnother) {
  RequestBytes requests(90 * kLarge);
  std::vector<RequestBytes::Held> held;
  for (auto one = requests.Admit("a", kLarge); one.ok(); one = requests.Admit("a", kLarge)) {
    held.push_back(*std::move(one));
  }
  EXPECT_EQ(held.size(), 80U);
  EXPECT_TRUE(requests.Admit("b", kLarge).ok());
}

TEST(RequestBytes, CountsWhatIsKept) {
  RequestBytes requests(4 * kLarge);
  auto first = requests.Admit(kTrusted, kLarge);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(first->Resize(4 * kLarge).ok());
  EXPECT_EQ(ErrorReason(first->Resize(5 * kLarge)), "TOO_MANY_REQUEST_BYTES");
  EXPECT_FALSE(requests.Admit(kTrusted, kLarge).ok());
  EXPECT_TRUE(first->Resize(100).ok());
  const auto second = requests.Admit(kTrusted, 4 * kLarge - 100);
  EXPECT_TRUE(second.ok());
}

TEST(RequestBytes, WhatIsKeptTakesNoRoomFromNewcomers) {
  RequestBytes requests(4 * kLarge, kLarge, kLarge);
  auto first = requests.Admit("a", kLarge);
  ASSERT_TRUE(first.ok());
  first->Keep(9 * kLarge);  // there is no room for it, but it is there
  EXPECT_TRUE(requests.Admit("b", 3 * kLarge).ok());
  EXPECT_TRUE(requests.Admit(kTrusted, 4 * kLarge).ok());
}

TEST(RequestBytes, WhoKeepsTooMuchIsRefusedUntilHeKeepsLess) {
  RequestBytes requests(4 * kLarge, kLarge, 90);
  auto first = requests.Admit("a", 10);
  auto second = requests.Admit("a", 10);
  ASSERT_TRUE(first.ok() && second.ok());
  first->Keep(50);
  second->Keep(31);
  const absl::Status refused = requests.Admit("a", 1).status();
  EXPECT_EQ(ErrorReason(refused), "TOO_MANY_REQUEST_BYTES");
  EXPECT_TRUE(RetryAfter(refused));
  EXPECT_TRUE(requests.Admit("b", 1).ok());
  second->Keep(30);
  EXPECT_TRUE(requests.Admit("a", 1).ok());
  second->Keep(31);
  *first = {};
  EXPECT_TRUE(requests.Admit("a", 1).ok());
}

TEST(RequestBytes, WhatIsMovedIsGivenBackOnce) {
  RequestBytes requests(kLarge);
  std::optional<RequestBytes::Held> last;
  {
    auto held = requests.Admit(kTrusted, kLarge);
    ASSERT_TRUE(held.ok());
    RequestBytes::Held moved = *std::move(held);
    last.emplace(std::move(moved));
  }
  EXPECT_FALSE(requests.Admit(kTrusted, kLarge).ok());
  last.reset();
  EXPECT_TRUE(requests.Admit(kTrusted, kLarge).ok());
}

TEST(RequestBytes, WhatIsHeldMayOutliveIt) {
  auto requests = std::make_unique<RequestBytes>(kLarge);
  auto held = requests->Admit("a", 1);
  ASSERT_TRUE(held.ok());
  requests.reset();
  held->Keep(10);
  *held = {};
}

TEST(RequestBytes, NeverMoreThanTheLimitFromManyThreads) {
  constexpr std::size_t kRoom = 3;
  RequestBytes requests(kRoom * kLarge);
  std::atomic<std::size_t> in_hand = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        const auto share = requests.Admit(kTrusted, kLarge);
        if (!share.ok()) continue;
        EXPECT_LE(++in_hand, kRoom);
        --in_hand;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(requests.Admit(kTrusted, kRoom * kLarge).ok());
}

}  // namespace
}  // namespace thinkwire::rpc
