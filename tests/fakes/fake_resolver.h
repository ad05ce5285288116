#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "router/fleet/resolver.h"

namespace thinkwire::router::fleet {

// Knows the names that a test wrote down. Threads: any.
class FakeResolver final : public Resolver {
 public:
  // Without addresses the name is not found.
  void Set(const std::string& host, std::vector<std::string> addresses) {
    MutexLock lock(mu_);
    addresses_[host] = std::move(addresses);
  }

  absl::StatusOr<std::vector<std::string>> Resolve(const std::string& host) override {
    MutexLock lock(mu_);
    const auto found = addresses_.find(host);
    if (found != addresses_.end() && !found->second.empty()) return found->second;
    return absl::UnavailableError("no such name");
  }

 private:
  Mutex mu_;
  std::map<std::string, std::vector<std::string>> addresses_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router::fleet
