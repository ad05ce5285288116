// How a worker's attempts are watched. Not beside their class: GCC 12.2 then guesses at -O3 that it
// is the one behind WatchedAttempt, and calls memcpy in the place of its Look.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_stub.h"

namespace thinkwire::router::fleet {

std::vector<std::shared_ptr<WatchedAttempt>> WorkerClient::attempts() const {
  std::vector<std::shared_ptr<WatchedAttempt>> attempts;
  MutexLock lock(stub_->mu);
  for (const auto& entry : stub_->attempts) {
    if (auto attempt = entry.second.lock()) attempts.push_back(std::move(attempt));
  }
  return attempts;
}

void WorkerClient::EndSilentAttempts(std::int64_t room) const {
  for (const auto& attempt : attempts()) attempt->Look(clock_.Now(), room);
}

void WorkerClient::EndAttempts(const std::string& did) const {
  for (const auto& attempt : attempts()) attempt->GiveUp(did);
}

}  // namespace thinkwire::router::fleet
