#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "router/fleet/resolver.h"
#include "router/variant_config.h"

namespace thinkwire::router::fleet {

// A name in the place of a worker's address, behind which may be many workers of a variant: a
// headless service of Kubernetes, say.
struct WorkerName {
  std::size_t variant = 0;
  std::string host{};
  int port = 0;  // of each of them
  bool operator==(const WorkerName&) const = default;
  bool operator<(const WorkerName& other) const {
    return std::tie(variant, host, port) < std::tie(other.variant, other.host, other.port);
  }
};

// The name that `address` is for workers of the variant; nullopt: it is one worker's address.
std::optional<WorkerName> ReadWorkerName(std::size_t variant, const std::string& address);

// The names among the workers of the variants.
std::vector<WorkerName> NamesOf(std::span<const VariantConfig> variants);

// Looks names up, one after another, every kInterval: how long an answer holds is not known through
// getaddrinfo, and whoever caches DNS on the way knows. A look-up that fails, or finds nothing,
// changes nothing: what was found before stays, and whether it lives its workers' statuses tell.
// Fails: in the log, once until the name is found again.
// Owns: a thread. Threads: any.
class Discovery {
 public:
  static constexpr Clock::Duration kInterval = std::chrono::seconds(5);

  // What a name was found to mean, as "host:port", or why it was not; on the thread.
  using OnLookUp = std::function<void(const WorkerName& name,
                                      absl::StatusOr<std::vector<std::string>> addresses)>;

  Discovery(std::vector<WorkerName> names, Resolver& resolver, OnLookUp on_look_up);
  ~Discovery();  // Stop

  void Start();
  // Waits for the look-up that is under way. Idempotent.
  void Stop();

  // Has these looked up from now on, soon; one that is no more may be told of once again.
  void SetNames(std::vector<WorkerName> names);

  // One round.
  void LookUpAll();

 private:
  std::vector<WorkerName> TakeNames();
  absl::StatusOr<std::vector<std::string>> LookUp(const WorkerName& name);
  bool Wait();

  Resolver& resolver_;
  const OnLookUp on_look_up_;
  std::set<WorkerName> failed_;  // the latest time; one round at a time

  Mutex mu_;
  CondVar changed_;
  std::vector<WorkerName> names_ ABSL_GUARDED_BY(mu_);
  bool are_new_ ABSL_GUARDED_BY(mu_) = false;  // the names, since the latest round began
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace thinkwire::router::fleet
