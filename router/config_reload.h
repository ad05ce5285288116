#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/file_watch.h"
#include "common/mutex.h"
#include "router/catalog.h"
#include "router/fleet/worker_pool.h"
#include "router/router_metrics.h"

namespace thinkwire::router {

// Has a running router go by what its YAML file says now: read again when the file has changed
// (FileWatch) or when somebody asks, and taken whole or not at all. One that cannot be read, says
// anything that LoadConfig does not take or names too many variants (Catalog::After) changes
// nothing; why is said in the log, once a change, and in the metrics.
//
// Requests that run go on by the catalog that they began with. Where all live workers of a variant
// are replaced, the new ones have kReplaceTime to be live before the old ones get nothing new, so
// that there is always one to ask. Options of the command line, addresses to listen
// on among them, need a restart.
//
// Owns: the watch's thread. Threads: any.
class ConfigReload {
 public:
  static constexpr Clock::Duration kReplaceTime = std::chrono::seconds(5);

  struct Shared {
    const std::string& path;
    CurrentCatalog& catalog;
    fleet::WorkerPool& pool;
    RouterMetrics& metrics;
    // What was read has been taken.
    std::function<void()> on_taken = nullptr;
    Clock::Duration look_every = FileWatch::kLookEvery;
    Clock::Duration replace_time = kReplaceTime;
  };
  // All outlive this. What the catalog has was read at about this time.
  explicit ConfigReload(Shared shared);

  // Watches the file from now on. Once.
  void Start() { watch_.Start(); }

  // Has the watch's thread read the file. Does not block.
  void Ask() { watch_.Ask(); }

  // Reads the file. Blocks, up to kReplaceTime and for another reading that is under way; no longer
  // than until the pool stops.
  void Reload();

 private:
  absl::Status Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Swap(const std::shared_ptr<const Catalog>& next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Shared shared_;
  Mutex mu_;  // one reading at a time
  FileWatch watch_;
};

}  // namespace thinkwire::router
