#include "router/fleet/discovery.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "router/worker_address.h"

namespace thinkwire::router::fleet {

std::optional<WorkerName> ReadWorkerName(std::size_t variant, const std::string& address) {
  const std::optional<NamedAddress> named = ReadNamedAddress(address);
  if (!named) return std::nullopt;
  return WorkerName{.variant = variant, .host = named->host, .port = named->port};
}

Discovery::Discovery(std::vector<WorkerName> names, Resolver& resolver, OnLookUp on_look_up)
    : names_(std::move(names)),
      resolver_(resolver),
      on_look_up_(std::move(on_look_up)),
      failed_(names_.size()) {}

Discovery::~Discovery() { Stop(); }

void Discovery::Start() {
  if (names_.empty()) return;
  thread_ = std::thread([this] {
    do {
      LookUpAll();
    } while (Wait());
  });
}

void Discovery::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

// For the next round; false if there is none.
bool Discovery::Wait() {
  const auto until = std::chrono::steady_clock::now() + kInterval;
  MutexLock lock(mu_);
  while (!stopping_) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return true;
    changed_.WaitFor(mu_, left);
  }
  return false;
}

void Discovery::LookUpAll() {
  for (std::size_t name = 0; name < names_.size(); ++name) {
    {
      MutexLock lock(mu_);
      if (stopping_) return;
    }
    on_look_up_(name, LookUp(name));
  }
}

absl::StatusOr<std::vector<std::string>> Discovery::LookUp(std::size_t name) {
  const WorkerName& named = names_[name];
  absl::StatusOr<std::vector<std::string>> found = resolver_.Resolve(named.host);
  if (!found.ok()) {
    if (!failed_[name]) {
      LogWarning("a name of workers is not found",
                 {{"name", named.host}, {"why", std::string(found.status().message())}});
    }
  } else {
    for (std::string& address : *found) absl::StrAppend(&address, ":", named.port);
  }
  failed_[name] = !found.ok();
  return found;
}

}  // namespace thinkwire::router::fleet
