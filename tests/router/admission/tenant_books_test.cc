#include "router/admission/tenant_books.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::admission {
namespace {

using std::chrono::seconds;

class TenantBooksTest : public testing::Test {
 protected:
  // Null: refused.
  std::optional<TenantBooks::Entry> Begin(const std::string& tenant = "search") {
    auto begun = books_.Begin(tenant, limits_);
    if (auto* refusal = std::get_if<Refusal>(&begun)) {
      refusal_ = *refusal;
      return std::nullopt;
    }
    return std::get<TenantBooks::Entry>(std::move(begun));
  }

  FakeClock clock_;
  TenantLimits limits_{.max_concurrency = 2, .tokens_per_minute = 600};
  TenantBooks books_{clock_};
  Refusal refusal_;
};

TEST_F(TenantBooksTest, ATenantHasSoManyInHandAndNoMore) {
  auto first = Begin();
  auto second = Begin();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(Begin());
  EXPECT_EQ(refusal_.limit, Refusal::Limit::kConcurrency);
  EXPECT_EQ(refusal_.value, 2);
  EXPECT_TRUE(Begin("other"));
  first.reset();
  EXPECT_TRUE(Begin());
}

TEST_F(TenantBooksTest, WhoHasTooManyIsToldWhenOneUsuallyEnds) {
  for (int i = 0; i < 100; ++i) {
    auto entry = Begin();
    clock_.Advance(seconds(8));
    entry->Took(1);
  }
  auto first = Begin();
  auto second = Begin();
  EXPECT_FALSE(Begin());
  EXPECT_EQ(refusal_.retry_after, seconds(4));
}

TEST_F(TenantBooksTest, WhatIsRefusedSaysNothingOfHowLongRequestsTake) {
  auto first = Begin();
  auto second = Begin();
  first->Took(1);
  clock_.Advance(seconds(20));
  first.reset();
  for (int i = 0; i < 100; ++i) Begin();
  first = Begin();
  EXPECT_FALSE(Begin());
  EXPECT_EQ(refusal_.retry_after, seconds(10));
}

TEST_F(TenantBooksTest, TokensAreReservedAndSettled) {
  auto first = Begin();
  EXPECT_FALSE(first->Reserve(500));
  auto second = Begin();
  const auto refusal = second->Reserve(200);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->limit, Refusal::Limit::kTokens);
  EXPECT_EQ(refusal->value, 600);
  EXPECT_EQ(refusal->retry_after, seconds(10));
  first->Took(300);
  first.reset();
  EXPECT_FALSE(second->Reserve(200));
}

TEST_F(TenantBooksTest, WhatNeverBeganCostsNothing) {
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(Begin()->Reserve(600));
}

TEST_F(TenantBooksTest, WithoutLimitsNobodyIsRefused) {
  limits_ = {};
  std::vector<std::optional<TenantBooks::Entry>> entries;
  for (int i = 0; i < 100; ++i) {
    entries.push_back(Begin());
    ASSERT_TRUE(entries.back());
    EXPECT_FALSE(entries.back()->Reserve(1e9));
  }
}

TEST_F(TenantBooksTest, NewLimitsHoldAtOnce) {
  auto first = Begin();
  limits_.max_concurrency = 1;
  EXPECT_FALSE(Begin());
  limits_.max_concurrency = 3;
  EXPECT_TRUE(Begin());
}

TEST(TenantLimitsTest, AreDividedByRoutersAndRoundedUp) {
  const TenantLimits part =
      PartOf({.max_concurrency = 5, .tokens_per_minute = 600, .weight = 3}, 2);
  EXPECT_EQ(part.max_concurrency, 3);
  EXPECT_EQ(part.tokens_per_minute, 300);
  EXPECT_EQ(part.weight, 3);
  EXPECT_EQ(PartOf({}, 7).max_concurrency, 0) << "no limit stays none";
}

}  // namespace
}  // namespace thinkwire::router::admission
