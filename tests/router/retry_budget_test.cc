#include "router/retry_budget.h"

#include <gtest/gtest.h>

namespace thinkwire::router {
namespace {

int WithdrawAll(RetryBudget& budget) {
  int retries = 0;
  while (budget.Withdraw()) ++retries;
  return retries;
}

TEST(RetryBudgetTest, AReserveIsThereAtTheStart) {
  RetryBudget budget;
  EXPECT_EQ(WithdrawAll(budget), kRetryReserve);
}

TEST(RetryBudgetTest, AShareOfTheRequestsMayBeRetried) {
  RetryBudget budget;
  WithdrawAll(budget);
  for (int i = 0; i < 1001; ++i) budget.Deposit();
  EXPECT_EQ(WithdrawAll(budget), kRetryReserve) << "the reserve is all that is saved";
  for (int i = 0; i < 101; ++i) budget.Deposit();
  EXPECT_EQ(WithdrawAll(budget), static_cast<int>(100 * kRetryShare));
}

}  // namespace
}  // namespace thinkwire::router
