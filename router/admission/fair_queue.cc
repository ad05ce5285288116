#include "router/admission/fair_queue.h"

#include <algorithm>
#include <iterator>
#include <queue>
#include <tuple>

#include "common/check.h"
#include "common/peer_limits.h"

namespace thinkwire::router::admission {

FairQueue::Id FairQueue::Tenant::First() const {
  for (std::size_t level = kNumPriorities; level-- > 0;) {
    if (!levels[level].empty()) return levels[level].begin()->second;
  }
  CHECK(false, "something of it waits");
  return 0;
}

FairQueue::Key FairQueue::KeyOf(const Request& request, Id id, Clock::TimePoint now) {
  return {request.deadline.value_or(now + kAssumedPatience), id};
}

FairQueue::Tenant& FairQueue::Awake(const std::string& name, double weight) {
  Tenant& tenant = tenants_[name];
  tenant.weight = weight;
  if (tenant.size == 0) tenant.start = std::max(tenant.start, virtual_time_);
  return tenant;
}

FairQueue::Id FairQueue::Add(const Request& request, Clock::TimePoint now) {
  const Id id = ++last_id_;
  Tenant& tenant = Awake(request.tenant, request.weight);
  const auto level = static_cast<std::size_t>(request.priority);
  const Key key = KeyOf(request, id, now);
  tenant.levels[level].insert(key);
  ++tenant.size;
  tenant.cost += request.cost;
  tenant.first_rise = std::min(tenant.first_rise, now + kPriorityAgeing);
  waiting_.emplace(id, Waiting{.request = request, .key = key, .level = level, .since = now});
  return id;
}

void FairQueue::Age(Tenant& tenant, Clock::TimePoint now) {
  if (now < tenant.first_rise) return;
  tenant.first_rise = Clock::TimePoint::max();
  for (std::size_t level = kNumPriorities - 1; level-- > 0;) {
    const std::set<Key> before = tenant.levels[level];
    for (const Key& key : before) {
      Waiting& waiting = waiting_.at(key.second);
      const Clock::TimePoint rise = waiting.since + kPriorityAgeing;
      if (rise > now) {
        tenant.first_rise = std::min(tenant.first_rise, rise);
        continue;
      }
      tenant.levels[level].erase(key);
      tenant.levels[++waiting.level].insert(key);
      waiting.since = rise;
      tenant.first_rise = std::min(tenant.first_rise, rise + kPriorityAgeing);
    }
  }
}

std::optional<FairQueue::Id> FairQueue::Next(Clock::TimePoint now, const Filter& may) {
  const Tenant* next = nullptr;
  Id next_id = 0;
  for (auto& [name, tenant] : tenants_) {
    if (tenant.size == 0 || (may && !may(name))) continue;
    Age(tenant, now);
    const Id id = tenant.First();
    if (next == nullptr || std::tie(tenant.start, id) < std::tie(next->start, next_id)) {
      next = &tenant;
      next_id = id;
    }
  }
  return next == nullptr ? std::nullopt : std::optional(next_id);
}

FairQueue::Tenant& FairQueue::Drop(Id id) {
  const auto found = waiting_.find(id);
  const Waiting& waiting = found->second;
  Tenant& tenant = tenants_.at(waiting.request.tenant);
  tenant.levels[waiting.level].erase(waiting.key);
  --tenant.size;
  tenant.cost -= waiting.request.cost;
  waiting_.erase(found);
  return tenant;
}

void FairQueue::Take(Id id) {
  const double cost = waiting_.at(id).request.cost;
  Tenant& tenant = Drop(id);
  virtual_time_ = std::max(virtual_time_, tenant.start);
  tenant.start += cost / tenant.weight;
  ForgetIdle();
}

void FairQueue::Remove(Id id) {
  if (!waiting_.contains(id)) return;
  Drop(id);
  ForgetIdle();
}

// Who has nothing waiting and nothing to make good begins at V, as somebody new does.
void FairQueue::ForgetIdle() {
  std::erase_if(tenants_, [this](const auto& entry) {
    return entry.second.size == 0 && (waiting_.empty() || entry.second.start <= virtual_time_);
  });
  if (tenants_.empty()) virtual_time_ = 0;
}

void FairQueue::Charge(const Request& request) {
  if (waiting_.empty()) return;
  Tenant& tenant = Awake(request.tenant, request.weight);
  tenant.start += request.cost / request.weight;
}

void FairQueue::Correct(const std::string& tenant, double weight, double tokens) {
  const auto found = tenants_.find(tenant);
  if (found == tenants_.end()) return;
  found->second.start = std::max(found->second.start + tokens / weight, virtual_time_);
}

bool FairQueue::Has(const std::string& tenant) const {
  const auto found = tenants_.find(tenant);
  return found != tenants_.end() && found->second.size > 0;
}

std::size_t FairQueue::CountAhead(const Request& request, Clock::TimePoint now) const {
  const auto own = tenants_.find(request.tenant);
  double start = virtual_time_;
  std::size_t ahead = 0;
  if (own != tenants_.end()) {
    start = std::max(start, own->second.start);
    const auto level = static_cast<std::size_t>(request.priority);
    const Key key = KeyOf(request, last_id_ + 1, now);
    for (std::size_t l = level; l < kNumPriorities; ++l) {
      const std::set<Key>& line = own->second.levels[l];
      const auto end = l > level ? line.end() : line.upper_bound(key);
      ahead += static_cast<std::size_t>(std::distance(line.begin(), end));
    }
    const auto size = static_cast<double>(std::max<std::size_t>(own->second.size, 1));
    start += static_cast<double>(ahead) * own->second.cost / size / request.weight;
  }
  for (const auto& [name, tenant] : tenants_) {
    if (name == request.tenant || tenant.size == 0 || tenant.start > start) continue;
    const double each = tenant.cost / static_cast<double>(tenant.size) / tenant.weight;
    const double turns = (start - tenant.start) / each + 1;
    ahead += static_cast<std::size_t>(std::min(turns, static_cast<double>(tenant.size)));
  }
  return ahead;
}

std::vector<FairQueue::Id> FairQueue::Order() const {
  struct Line {
    double start;
    double weight;
    std::vector<Id> ids;  // the last goes first
  };
  std::vector<Line> lines;
  const auto is_later = [&](std::size_t a, std::size_t b) {
    return std::tie(lines[a].start, lines[a].ids.back()) >
           std::tie(lines[b].start, lines[b].ids.back());
  };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(is_later)> next(is_later);
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.size == 0) continue;
    Line& line = lines.emplace_back(Line{tenant.start, tenant.weight, {}});
    for (const std::set<Key>& level : tenant.levels) {
      for (auto key = level.rbegin(); key != level.rend(); ++key) line.ids.push_back(key->second);
    }
  }
  for (std::size_t i = 0; i < lines.size(); ++i) next.push(i);
  std::vector<Id> order;
  order.reserve(waiting_.size());
  while (!next.empty()) {
    const std::size_t i = next.top();
    next.pop();
    const Id id = lines[i].ids.back();
    order.push_back(id);
    lines[i].ids.pop_back();
    lines[i].start += waiting_.at(id).request.cost / lines[i].weight;
    if (!lines[i].ids.empty()) next.push(i);
  }
  return order;
}

}  // namespace thinkwire::router::admission
