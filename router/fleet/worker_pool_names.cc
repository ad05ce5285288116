// What WorkerPool does as workers come and go: by what names are found to mean, and by a new
// configuration.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/log.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/worker_address.h"

namespace thinkwire::router::fleet {
namespace {

// By the canonical addresses of workers, those left out that names mean.
std::map<std::string, std::size_t> VariantOfAddress(const std::vector<VariantConfig>& variants) {
  std::map<std::string, std::size_t> variant_of;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    for (const std::string& address : variants[v].workers) {
      if (!ReadWorkerName(v, address)) variant_of.emplace(CanonicalAddress(address), v);
    }
  }
  return variant_of;
}

}  // namespace

void WorkerPool::Add(std::size_t variant, const std::string& address,
                     const std::optional<WorkerName>& name) {
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

// What it has goes on.
void WorkerPool::Remove(std::size_t index) {
  Worker& worker = workers_[index];
  worker.removed = true;
  roster_.Remove(index);
  if (worker.watch) worker.watch->Cancel();
  if (worker.probe) worker.probe->Cancel();
}

rpc::ChannelSecurity WorkerPool::SecurityOf(const std::optional<WorkerName>& name) const {
  rpc::ChannelSecurity security = security_;
  if (name && security.server_name.empty()) security.server_name = name->host;
  return security;
}

void WorkerPool::Introduce(const std::vector<VariantConfig>& variants) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    changed = roster_.Reconfigure(variants);
    experience_.Reconfigure(variants);
    for (std::size_t v = 0; v < variants.size(); ++v) {
      for (const std::string& address : variants[v].workers) {
        if (!ReadWorkerName(v, address)) AddConfigured(v, address);
      }
    }
    for (const WorkerName& name : NamesOf(variants)) names_.try_emplace(name);
    SetLookedUpNames();
    changed_.NotifyAll();  // the next Tick is due
  }
  if (changed) on_change_(*this);
}

void WorkerPool::Retire(const std::vector<VariantConfig>& variants) {
  {
    MutexLock lock(mu_);
    for (const std::size_t i : Leaving(variants)) Remove(i);
    const std::vector<WorkerName> names = NamesOf(variants);
    std::erase_if(names_,
                  [&](const auto& known) { return std::ranges::count(names, known.first) == 0; });
    SetLookedUpNames();
  }
  on_change_(*this);
}

void WorkerPool::SetLookedUpNames() {
  std::vector<WorkerName> names;
  for (const auto& known : names_) names.push_back(known.first);
  discovery_.SetNames(std::move(names));
}

void WorkerPool::AddConfigured(std::size_t variant, const std::string& address) {
  const std::string canonical = CanonicalAddress(address);
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    Worker& worker = workers_[i];
    const bool is_same = worker.client && worker.canonical_address == canonical &&
                         roster_.views()[i].variant == variant;
    if (!is_same) continue;
    Adopt(i, variant, std::nullopt);
    worker.name.reset();  // it stays, whatever names mean
    return;
  }
  Add(variant, address, std::nullopt);
}

std::vector<std::size_t> WorkerPool::Leaving(const std::vector<VariantConfig>& variants) const {
  const std::vector<WorkerName> names = NamesOf(variants);
  const std::map<std::string, std::size_t> variant_of = VariantOfAddress(variants);
  std::vector<std::size_t> leaving;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    if (!worker.client || worker.removed) continue;
    const auto found = variant_of.find(worker.canonical_address);
    const bool stays = found == variant_of.end()
                           ? worker.name && std::ranges::count(names, *worker.name) > 0
                           : found->second == roster_.views()[i].variant;
    if (!stays) leaving.push_back(i);
  }
  return leaving;
}

bool WorkerPool::AreTheLast(const std::vector<std::size_t>& leaving,
                            const std::vector<VariantConfig>& variants) const {
  std::vector<bool> has_live(variants.size());
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const decision::WorkerView& view = roster_.views()[i];
    if (view.live() && std::ranges::count(leaving, i) == 0) has_live[view.variant] = true;
  }
  const std::map<std::string, std::size_t> variant_of = VariantOfAddress(variants);
  const auto lacks = [&](std::size_t v) { return !variants[v].workers.empty() && !has_live[v]; };
  for (const std::size_t i : leaving) {
    const decision::WorkerView& view = roster_.views()[i];
    const auto next = variant_of.find(workers_[i].canonical_address);
    const bool is_wanted = lacks(view.variant) || (next != variant_of.end() && lacks(next->second));
    if (view.live() && is_wanted) return true;
  }
  return false;
}

void WorkerPool::AwaitSuccessors(const std::vector<VariantConfig>& variants,
                                 Clock::Duration timeout) {
  const auto give_up = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mu_);
  while (!stopping_ && AreTheLast(Leaving(variants), variants)) {
    const auto left = give_up - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return;
    changed_.WaitFor(mu_, left);
  }
}

void WorkerPool::OnLookUp(const WorkerName& name,
                          const absl::StatusOr<std::vector<std::string>>& addresses) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    const auto known = names_.find(name);
    if (known == names_.end()) return;  // it is not configured any more
    known->second.looked_up = true;
    changed_.NotifyAll();
    if (!addresses.ok() || stopping_) return;
    changed = RemoveOthers(name, *addresses);
    changed |= AddNew(name, *addresses);
  }
  if (changed) on_change_(*this);
}

bool WorkerPool::RemoveOthers(const WorkerName& name, const std::vector<std::string>& addresses) {
  const std::set<std::string> kept(addresses.begin(), addresses.end());
  bool changed = false;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    const Worker& worker = workers_[i];
    if (!worker.client || worker.name != name || worker.removed) continue;
    if (kept.contains(worker.client->address())) continue;
    LogInfo("a worker is not found any more",
            {{"name", name.host}, {"worker", worker.client->address()}});
    Remove(i);
    changed = true;
  }
  return changed;
}

bool WorkerPool::AddNew(const WorkerName& name, const std::vector<std::string>& addresses) {
  const std::map<std::string, std::size_t> known = ByAddress();
  std::size_t num_workers = known.size();
  bool changed = false;
  std::string complaint;
  for (const std::string& address : addresses) {
    if (const auto found = known.find(CanonicalAddress(address)); found != known.end()) {
      changed |= Adopt(found->second, name.variant, name);
      if (roster_.views()[found->second].variant == name.variant) continue;
      complaint = absl::StrCat(address, " is another variant's");
    } else if (num_workers == kMaxWorkers) {
      complaint = absl::StrCat("with it there are more than ", kMaxWorkers, " workers");
    } else {
      LogInfo("a worker was found", {{"name", name.host}, {"worker", address}});
      Add(name.variant, address, name);
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
    const Worker& worker = workers_[i];
    if (!worker.client) continue;
    // One that finishes what it has may have been given to another variant meanwhile.
    const auto [known, is_new] = by_address.emplace(worker.canonical_address, i);
    if (!is_new && workers_[known->second].removed) known->second = i;
  }
  return by_address;
}

bool WorkerPool::Adopt(std::size_t index, std::size_t variant,
                       const std::optional<WorkerName>& name) {
  Worker& worker = workers_[index];
  if (!worker.removed || roster_.views()[index].variant != variant) return false;
  worker.removed = false;
  worker.name = name;
  worker.next_watch = clock_.Now();
  roster_.Restore(index);
  return true;
}

void WorkerPool::Complain(const WorkerName& name, const std::string& what) {
  if (std::exchange(names_[name].complaint, what) == what || what.empty()) return;
  LogWarning("not all workers of a name are taken", {{"name", name.host}, {"why", what}});
}

}  // namespace thinkwire::router::fleet
