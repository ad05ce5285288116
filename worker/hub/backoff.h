#pragma once

#include <atomic>
#include <cstdint>

#include "worker/hub/http.h"

namespace thinkwire::worker::hub {

// Whether the same request may go better another time: the server is too busy, has broken down, or
// its signed address has run out.
bool IsWorthAnotherTry(const HttpReply& reply);

// How long a request that failed waits for its next try: 0.5 s, and twice as long each time, or
// what the server asks for, if that is 5 minutes at most. Five times in a row; what has brought a
// byte is no failure. Threads: one, but for `stop`.
class Backoff {
 public:
  explicit Backoff(const std::atomic<bool>* stop) : stop_(stop) {}

  void Progressed() { failures_ = 0; }

  // Waits. False, at once or as soon as that is so: it is enough, or everything stops.
  bool Wait(std::int64_t retry_after_s);

 private:
  bool Stopped() const { return stop_ != nullptr && stop_->load(); }

  const std::atomic<bool>* const stop_;  // null: nobody stops it
  int failures_ = 0;
};

}  // namespace thinkwire::worker::hub
