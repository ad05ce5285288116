#include "common/rpc/few_pollers.h"

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace thinkwire::rpc {
namespace {

using Next = grpc_event(grpc_completion_queue* queue, gpr_timespec deadline, void* reserved);

std::atomic<bool> with_few_threads = false;

// gRPC's.
Next* GrpcNext() {
  static Next* const next = reinterpret_cast<Next*>(dlsym(RTLD_NEXT, "grpc_completion_queue_next"));
  return next;
}

// How much of the time a thread has computed lately.
class Load {
 public:
  // An event came. Once in kEvents of them a share of the time since it said so before.
  std::optional<double> OnEvent() {
    if (++events_ < kEvents) return std::nullopt;
    const double wall = Seconds(CLOCK_MONOTONIC);
    const double cpu = Seconds(CLOCK_THREAD_CPUTIME_ID);
    const double share = wall > wall_ ? (cpu - cpu_) / (wall - wall_) : 0;
    events_ = 0;
    wall_ = wall;
    cpu_ = cpu;
    return share;
  }

 private:
  static constexpr int kEvents = 256;

  static double Seconds(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  int events_ = kEvents - 1;  // the first says since when
  double wall_ = 0;
  double cpu_ = 0;
};

// So many reactions of a thread run at most before who waits for its rest is told. Of some
// microseconds each.
constexpr int kMostReactions = 1024;

// Whom this thread is to tell when it rests.
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

// Who polls. Its threads may outlive all that is destroyed as the process ends, so that is not.
class Turns {
 public:
  static bool has_one() { return has_one_; }
  // Blocks until this thread has one.
  void Take() {
    if (has_one_) return;
    MutexLock lock(mu_);
    while (taken_ >= given_) free_.Wait(mu_);
    ++taken_;
    has_one_ = true;
  }
  // If this thread has one.
  void Pass() {
    if (!has_one_) return;
    MutexLock lock(mu_);
    --taken_;
    has_one_ = false;
    free_.NotifyOne();
  }
  // Gives one more where those who have one are busy, one less where they could do with fewer.
  void OnEvent() {
    const std::optional<double> load = load_.OnEvent();
    if (!load) return;
    MutexLock lock(mu_);
    if (*load > kBusy && given_ == taken_ && given_ < kMost) {
      ++given_;
      free_.NotifyOne();
    } else if (*load < kIdle && given_ > 1) {
      --given_;
    }
    if (taken_ <= given_ || !has_one_) return;
    --taken_;
    has_one_ = false;
  }

 private:
  // Shares of a processor. Two that share what one did are below kBusy / 2.
  static constexpr double kBusy = 0.8;
  static constexpr double kIdle = 0.25;
  static constexpr int kMost = 1024;  // gRPC has fewer threads

  static thread_local bool has_one_;
  static thread_local Load load_;
  Mutex mu_;
  CondVar free_;
  int given_ ABSL_GUARDED_BY(mu_) = 1;
  int taken_ ABSL_GUARDED_BY(mu_) = 0;
};

thread_local bool Turns::has_one_ = false;
thread_local Load Turns::load_;

Turns& TheTurns() {
  static Turns& turns = *new Turns;
  return turns;
}

// Whether this is one of the threads that gRPC has for callbacks, by the name that it gives them.
bool IsOfCallbacks() {
  static thread_local const bool is_one = [] {
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof(name));
    return std::strcmp(name, "nexting_thread") == 0;
  }();
  return is_one;
}

// The next event of `queue`, once there is one; what waits for a rest goes first where there is
// none.
grpc_event NextOrRest(grpc_completion_queue* queue, void* reserved) {
  while (!waiters.empty()) {
    if (waiters.MayWait()) {
      const gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
      const grpc_event event = GrpcNext()(queue, now, reserved);
      if (event.type == GRPC_OP_COMPLETE) return event;
    }
    waiters.Tell();
  }
  return GrpcNext()(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), reserved);
}

}  // namespace

void PollWithFewThreads() { with_few_threads = true; }

void LetAnotherPoll() {
  waiters.Tell();
  TheTurns().Pass();
}

void TellAtRest(std::shared_ptr<AtRest> waiter) {
  if (!Turns::has_one()) return waiter->OnRest();
  waiters.Add(std::move(waiter));
}

}  // namespace thinkwire::rpc

// Found before gRPC's by all that the program is linked with. The threads that gRPC has for
// callbacks ask for an event within a second, and rest for a tenth of one where none came, as
// another polls meanwhile. Those that poll here do not rest.
extern "C" grpc_event grpc_completion_queue_next(grpc_completion_queue* queue,
                                                 gpr_timespec deadline, void* reserved) {
  using namespace thinkwire::rpc;
  if (!with_few_threads || !IsOfCallbacks()) return GrpcNext()(queue, deadline, reserved);
  if (!Turns::has_one()) waiters.Tell();  // it lost its turn, and waits for another
  TheTurns().Take();
  const grpc_event event = NextOrRest(queue, reserved);
  if (event.type == GRPC_QUEUE_SHUTDOWN) {
    TheTurns().Pass();
  } else {
    TheTurns().OnEvent();
  }
  return event;
}
