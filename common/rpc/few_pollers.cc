#include "common/rpc/few_pollers.h"

#include <dlfcn.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "common/mutex.h"

namespace thinkwire::rpc {
namespace {

// So many reactions run at most before those who wait for a rest are told, for each of them and in
// all. Of some microseconds each.
constexpr std::size_t kMostForEach = 32;
constexpr std::size_t kMostReactions = 8192;

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

// Whom a thread that polls is to tell when it rests.
class Waiters {
 public:
  bool empty() const { return waiters_.empty(); }
  void Add(std::shared_ptr<AtRest> waiter) { waiters_.push_back(std::move(waiter)); }
  // Whether another reaction may run before they are told.
  bool MayWait() { return ++reactions_ < std::min(kMostReactions, kMostForEach * waiters_.size()); }
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
  std::size_t reactions_ = 0;  // since the first of them
};

// Whether more has come beside what a thread that polls has got: gRPC can only be asked by a system
// call, which finds nothing where messages come one by one. So after a few that found nothing there
// are few until one finds something.
class Asking {
 public:
  bool IsWorth() { return in_vain_ < kInVain || ++left_out_ % kOnceIn == 0; }
  void Learn(bool found) { in_vain_ = found ? 0 : in_vain_ + 1; }

 private:
  static constexpr unsigned kInVain = 4;
  static constexpr unsigned kOnceIn = 16;

  unsigned in_vain_ = 0;   // since one that found something
  unsigned left_out_ = 0;  // so often it was not worth it
};

thread_local Waiters waiters;
thread_local Asking asking;

// Who polls. Its threads may outlive all that is destroyed as the process ends, so that is not.
class Turns {
 public:
  // Blocks until this thread has one.
  void Take() {
    if (has_one_) return;
    MutexLock lock(mu_);
    while (taken_ >= given_) free_.Wait(mu_);
    ++taken_;
    has_one_ = true;
  }
  static bool has_one() { return has_one_; }
  // If this thread has one.
  void Pass() {
    if (!has_one_) return;
    MutexLock lock(mu_);
    --taken_;
    has_one_ = false;
    free_.NotifyOne();
  }
  // Gives one more where those who have one are busy, one less where they could do with fewer.
  // Whether this thread should pass its own.
  bool OnEvent() {
    const std::optional<double> load = load_.OnEvent();
    if (!load) return false;
    MutexLock lock(mu_);
    if (*load > kBusy && given_ == taken_ && given_ < kMost) {
      ++given_;
      free_.NotifyOne();
    } else if (*load < kIdle && given_ > 1) {
      --given_;
    }
    return taken_ > given_;
  }

 private:
  // Shares of a processor. Two that share what one did are well above kIdle.
  static constexpr double kBusy = 0.7;
  static constexpr double kIdle = 0.2;
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

// The next event of `queue`, for a thread that has a turn: those who wait for a rest are told
// before it waits for one.
grpc_event NextOf(grpc_completion_queue* queue, void* reserved) {
  while (!waiters.empty()) {
    if (waiters.MayWait() && asking.IsWorth()) {
      const gpr_timespec now = gpr_inf_past(GPR_CLOCK_MONOTONIC);
      const grpc_event next = GrpcNext()(queue, now, reserved);
      asking.Learn(next.type == GRPC_OP_COMPLETE);
      if (next.type == GRPC_OP_COMPLETE) return next;
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
  TheTurns().Take();
  const grpc_event event = NextOf(queue, reserved);
  if (event.type == GRPC_QUEUE_SHUTDOWN || TheTurns().OnEvent()) LetAnotherPoll();
  return event;
}
