#include "common/rpc/one_poller.h"

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <pthread.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace thinkwire::rpc {
namespace {

// So many reactions run at most before who waits for a rest is told. Of some microseconds each.
constexpr int kMostReactions = 1024;

using Next = grpc_event(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved);

std::atomic<bool> with_one_thread = false;

// gRPC's.
Next* GrpcNext() {
  static Next* const next = reinterpret_cast<Next*>(dlsym(RTLD_NEXT, "grpc_completion_queue_next"));
  return next;
}

// Who polls. Its threads may outlive all that is destroyed as the process ends, so that is not.
class Turn {
 public:
  // Blocks until it is this thread's.
  void Take() {
    if (is_mine_) return;
    MutexLock lock(mu_);
    while (is_taken_) free_.Wait(mu_);
    is_taken_ = is_mine_ = true;
  }
  static bool is_mine() { return is_mine_; }
  // If it is this thread's.
  void Pass() {
    if (!is_mine_) return;
    MutexLock lock(mu_);
    is_taken_ = is_mine_ = false;
    free_.NotifyOne();
  }

 private:
  static thread_local bool is_mine_;
  Mutex mu_;
  CondVar free_;
  bool is_taken_ ABSL_GUARDED_BY(mu_) = false;
};

thread_local bool Turn::is_mine_ = false;

Turn& TheTurn() {
  static Turn& turn = *new Turn;
  return turn;
}

// Whom the thread that polls is to tell when it rests.
class Waiters {
 public:
  bool empty() const { return waiters_.empty(); }
  void Add(std::shared_ptr<AtRest> waiter) { waiters_.push_back(std::move(waiter)); }
  // Whether another reaction may run before they are told.
  bool MayWait() { return ++reactions_ < kMostReactions; }
  void Tell() {
    reactions_ = 0;
    std::vector<std::shared_ptr<AtRest>> told;
    told.swap(waiters_);
    for (auto& waiter : told) std::exchange(waiter, nullptr)->OnRest();
    told.clear();
    if (waiters_.empty()) waiters_.swap(told);  // keeps the memory
  }

 private:
  std::vector<std::shared_ptr<AtRest>> waiters_;
  int reactions_ = 0;  // since the first of them
};

thread_local Waiters waiters;

// Whether this is one of the threads that gRPC has for callbacks, by the name that it gives them.
bool IsOfCallbacks() {
  static thread_local const bool is_one = [] {
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    return std::strcmp(name, "nexting_thread") == 0;
  }();
  return is_one;
}

}  // namespace

void PollWithOneThread() { with_one_thread = true; }

void LetAnotherPoll() {
  waiters.Tell();
  TheTurn().Pass();
}

void TellAtRest(std::shared_ptr<AtRest> waiter) {
  if (!Turn::is_mine()) return waiter->OnRest();
  waiters.Add(std::move(waiter));
}

}  // namespace thinkwire::rpc

// Found before gRPC's by all that the program is linked with. The threads that gRPC has for
// callbacks ask for an event within a second, and rest for a tenth of one where none came, as
// another polls meanwhile. The one that polls here does not rest.
extern "C" grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                                 gpr_timespec deadline, void* reserved) {
  using namespace thinkwire::rpc;
  if (!with_one_thread || !IsOfCallbacks()) return GrpcNext()(queue, deadline, reserved);
  TheTurn().Take();
  while (!waiters.empty()) {
    if (waiters.MayWait()) {
      const gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
      const grpc_event next = GrpcNext()(queue, now, reserved);
      if (next.type == GRPC_OP_COMPLETE) return next;
    }
    waiters.Tell();
  }
  const grpc_event event = GrpcNext()(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), reserved);
  if (event.type == GRPC_QUEUE_SHUTDOWN) TheTurn().Pass();
  return event;
}
