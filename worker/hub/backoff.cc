#include "worker/hub/backoff.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace thinkwire::worker::hub {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxFailures = 5;
constexpr milliseconds kFirstWait{500};
constexpr std::int64_t kMaxRetryAfterS = 300;
constexpr milliseconds kLook{50};  // for a stop

}  // namespace

bool IsWorthAnotherTry(const HttpReply& reply) {
  // 403: of the store that the hub sends on to. Of the hub itself it has been seen before.
  return reply.status == 403 || reply.status == 408 || reply.status == 429 || reply.status >= 500;
}

bool Backoff::Wait(std::int64_t retry_after_s) {
  if (failures_ == kMaxFailures || retry_after_s > kMaxRetryAfterS) return false;
  const milliseconds wait =
      std::max<milliseconds>(std::chrono::seconds(retry_after_s), kFirstWait * (1 << failures_));
  ++failures_;
  const auto end = std::chrono::steady_clock::now() + wait;
  while (!Stopped() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(kLook);
  }
  return !Stopped();
}

}  // namespace thinkwire::worker::hub
