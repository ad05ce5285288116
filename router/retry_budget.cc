#include "router/retry_budget.h"

#include <algorithm>

namespace thinkwire::router {

void RetryBudget::Deposit() {
  MutexLock lock(mu_);
  retries_ = std::min(kRetryReserve, retries_ + kRetryShare);
}

bool RetryBudget::Withdraw() {
  MutexLock lock(mu_);
  if (retries_ < 1) return false;
  retries_ -= 1;
  return true;
}

}  // namespace thinkwire::router
