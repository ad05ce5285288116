// What WorkerPool does with what names are found to mean.
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/log.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/worker_address.h"

namespace thinkwire::router::fleet {

void WorkerPool::Add(std::size_t variant, const std::string& address,
                     std::optional<std::size_t> name) {
  const std::size_t index = roster_.Add(variant, address, clock_.Now());
  if (index == workers_.size()) workers_.emplace_back();
  Worker& worker = workers_[index];
  worker = {};
  worker.client = std::make_shared<WorkerClient>(address, clock_, patience_, SecurityOf(name));
  worker.canonical_address = CanonicalAddress(address);
  worker.name = name;
  worker.next_watch = clock_.Now();
  BeginLife(worker);
}

rpc::ChannelSecurity WorkerPool::SecurityOf(std::optional<std::size_t> name) const {
  rpc::ChannelSecurity security = security_;
  if (name && security.server_name.empty()) security.server_name = names_[*name].host;
  return security;
}

void WorkerPool::OnLookUp(std::size_t name,
                          const absl::StatusOr<std::vector<std::string>>& addresses) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    looked_up_[name] = true;
    changed_.NotifyAll();
    if (!addresses.ok() || stopping_) return;
    changed = RemoveOthers(name, *addresses);
    changed |= AddNew(name, *addresses);
  }
  if (changed) on_change_(*this);
}

bool WorkerPool::RemoveOthers(std::size_t name, const std::vector<std::string>& addresses) {
  const std::set<std::string> kept(addresses.begin(), addresses.end());
  bool changed = false;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    if (!worker.client || worker.name != name || worker.removed) continue;
    if (kept.contains(worker.client->address())) continue;
    worker.removed = changed = true;
    LogInfo("a worker is not found any more",
            {{"name", names_[name].host}, {"worker", worker.client->address()}});
    roster_.Remove(i);
    if (worker.watch) worker.watch->Cancel();
    if (worker.probe) worker.probe->Cancel();
  }
  return changed;
}

bool WorkerPool::AddNew(std::size_t name, const std::vector<std::string>& addresses) {
  const std::map<std::string, std::size_t> known = ByAddress();
  std::size_t num_workers = known.size();
  bool changed = false;
  std::string complaint;
  for (const std::string& address : addresses) {
    if (const auto found = known.find(CanonicalAddress(address)); found != known.end()) {
      changed |= Adopt(found->second, name);
      if (roster_.views()[found->second].variant == names_[name].variant) continue;
      complaint = absl::StrCat(address, " is another variant's");
    } else if (num_workers == kMaxWorkers) {
      complaint = absl::StrCat("with it there are more than ", kMaxWorkers, " workers");
    } else {
      LogInfo("a worker was found", {{"name", names_[name].host}, {"worker", address}});
      Add(names_[name].variant, address, name);
      ++num_workers;
      changed = true;
    }
  }
  Complain(name, complaint);
  return changed;
}

std::map<std::string, std::size_t> WorkerPool::ByAddress() const {
  std::map<std::string, std::size_t> by_address;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].client) by_address.emplace(workers_[i].canonical_address, i);
  }
  return by_address;
}

bool WorkerPool::Adopt(std::size_t index, std::size_t name) {
  Worker& worker = workers_[index];
  if (!worker.removed || roster_.views()[index].variant != names_[name].variant) return false;
  worker.removed = false;
  worker.name = name;
  worker.next_watch = clock_.Now();
  roster_.Restore(index);
  return true;
}

void WorkerPool::Complain(std::size_t name, const std::string& what) {
  if (complaints_[name] == what) return;
  complaints_[name] = what;
  if (!what.empty()) {
    LogWarning("not all workers of a name are taken", {{"name", names_[name].host}, {"why", what}});
  }
}

}  // namespace thinkwire::router::fleet
