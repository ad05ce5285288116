#include "common/rpc/lock_order.h"

#include <gtest/gtest.h>

#include "absl/synchronization/mutex.h"

namespace thinkwire::rpc {
namespace {

void TakeInTurn(absl::Mutex& first, absl::Mutex& second) {
  const absl::MutexLock outer(&first);
  const absl::MutexLock inner(&second);
}

TEST(LockOrderTest, TwoOrdersThatNeverMeetEndNobody) {
  DoNotWatchLockOrder();
  absl::Mutex one;
  absl::Mutex other;
  TakeInTurn(one, other);
  TakeInTurn(other, one);  // where the order is watched, the process ends here
}

}  // namespace
}  // namespace thinkwire::rpc
