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

std::vector<WorkerName> NamesOf(std::span<const VariantConfig> variants) {
  std::vector<WorkerName> names;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    for (const std::string& address : variants[v].workers) {
      if (auto name = ReadWorkerName(v, address)) names.push_back(*std::move(name));
    }
  }
  return names;
}

Discovery::Discovery(std::vector<WorkerName> names, Resolver& resolver, OnLookUp on_look_up)
    : resolver_(resolver), on_look_up_(std::move(on_look_up)), names_(std::move(names)) {}

Discovery::~Discovery() { Stop(); }

void Discovery::Start() {
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
  while (!stopping_ && !are_new_) {
    const auto left = until - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return true;
    changed_.WaitFor(mu_, left);
  }
  return !stopping_;
}

void Discovery::SetNames(std::vector<WorkerName> names) {
  MutexLock lock(mu_);
  names_ = std::move(names);
  are_new_ = true;
  changed_.NotifyAll();
}

std::vector<WorkerName> Discovery::TakeNames() {
  MutexLock lock(mu_);
  are_new_ = false;
  return names_;
}

void Discovery::LookUpAll() {
  const std::vector<WorkerName> names = TakeNames();
  const std::set<WorkerName> all(names.begin(), names.end());
  std::erase_if(failed_, [&](const WorkerName& name) { return !all.contains(name); });
  for (const WorkerName& name : names) {
    {
      MutexLock lock(mu_);
      if (stopping_) return;
    }
    on_look_up_(name, LookUp(name));
  }
}

absl::StatusOr<std::vector<std::string>> Discovery::LookUp(const WorkerName& name) {
  absl::StatusOr<std::vector<std::string>> found = resolver_.Resolve(name.host);
  if (found.ok()) {
    failed_.erase(name);
    for (std::string& address : *found) absl::StrAppend(&address, ":", name.port);
  } else if (failed_.insert(name).second) {
    LogWarning("a name of workers is not found",
               {{"name", name.host}, {"why", std::string(found.status().message())}});
  }
  return found;
}

}  // namespace thinkwire::router::fleet
