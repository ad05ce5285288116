#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/fleet/resolver.h"

namespace thinkwire::router::fleet {

// A name in the place of a worker's address, behind which may be many workers of a variant: a
// headless service of Kubernetes, say.
struct WorkerName {
  std::size_t variant = 0;
  std::string host{};
  int port = 0;  // of each of them
};

// The name that `address` is for workers of the variant; nullopt: it is one worker's address.
std::optional<WorkerName> ReadWorkerName(std::size_t variant, const std::string& address);

// Looks names up, one after another, every kInterval: how long an answer holds is not known through
// getaddrinfo, and whoever caches DNS on the way knows. A look-up that fails, or finds nothing,
// changes nothing: what was found before stays, and whether it lives its workers' statuses tell.
// Fails: in the log, once until the name is found again.
// Owns: a thread, where there are names. Threads: any.
class Discovery {
 public:
  static constexpr Clock::Duration kInterval = std::chrono::seconds(5);

  // What name number `name` was found to mean, as "host:port", or why it was not; on the thread.
  using OnLookUp =
      std::function<void(std::size_t name, absl::StatusOr<std::vector<std::string>> addresses)>;

  Discovery(std::vector<WorkerName> names, Resolver& resolver, OnLookUp on_look_up);
  ~Discovery();  // Stop

  void Start();
  // Waits for the look-up that is under way. Idempotent.
  void Stop();

  // One round.
  void LookUpAll();

 private:
  absl::StatusOr<std::vector<std::string>> LookUp(std::size_t name);
  bool Wait();

  const std::vector<WorkerName> names_;
  Resolver& resolver_;
  const OnLookUp on_look_up_;
  std::vector<bool> failed_;  // of each name, the latest time; one round at a time

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router::fleet
