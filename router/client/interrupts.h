#pragma once

#include <functional>

#include "common/mutex.h"

namespace grpc {
class ClientContext;
}  // namespace grpc

namespace thinkwire::router::client {

// Takes Ctrl-C and SIGTERM on a thread of its own: cancels the running call, or ends the process
// where none runs. Made before any other thread, which inherit the blocked signals; its own thread
// uses it to the process's end.
class Interrupts {
 public:
  Interrupts();

  // From now on Ctrl-C ends a running call at most, never the process; `before_end` is called, on
  // any thread, before SIGTERM ends that.
  void KeepGoing(std::function<void()> before_end);

  void Begin(grpc::ClientContext& context);
  // Whether the call was interrupted.
  bool End();

 private:
  void OnSignal(int signal);

  Mutex mu_;
  std::function<void()> before_end_ ABSL_GUARDED_BY(mu_);
  bool keeps_going_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* running_ ABSL_GUARDED_BY(mu_) = nullptr;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::router::client
