#pragma once

#include <utility>

#include "absl/base/thread_annotations.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace thinkwire::rpc {

// How many calls of a service are under way, so that one that drains can wait for their end.
// Threads: any.
class CallCount {
 public:
  // One call: counts until it is destroyed or moved from. A default one counts nothing. Must be
  // gone before its CallCount; the thread that waits may destroy that as soon as it is.
  class Token {
   public:
    Token() = default;
    Token(Token&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Token& operator=(Token&& other) noexcept {
      std::swap(owner_, other.owner_);
      return *this;
    }
    ~Token() {
      if (owner_ != nullptr) owner_->End();
    }

   private:
    friend class CallCount;
    explicit Token(CallCount* owner) : owner_(owner) {}

    CallCount* owner_ = nullptr;
  };

  CallCount() = default;
  CallCount(const CallCount&) = delete;
  CallCount& operator=(const CallCount&) = delete;

  // Counts one more call.
  [[nodiscard]] Token Begin();

  // Blocks until no call is left, at most `timeout` by the machine's clock. False if some are.
  bool WaitUntilNone(Clock::Duration timeout);

 private:
  void End();

  Mutex mu_;
  CondVar none_;
  int count_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace thinkwire::rpc
