#include "common/rpc/lock_order.h"

#include "absl/synchronization/mutex.h"

namespace thinkwire::rpc {

void DoNotWatchLockOrder() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

}  // namespace thinkwire::rpc
