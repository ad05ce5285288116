#include "worker/engine/shared_prompts.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

std::int32_t SharedPrompts::BlocksOf(const Sequence& sequence) const {
  const Request& request = sequence.request();
  if (request.prompt_of == 0) return 0;
  return (static_cast<std::int32_t>(request.prompt_ids.size()) - 1) / block_tokens_;
}

bool SharedPrompts::Enter(Sequence& sequence) {
  if (sequence.request().prompt_of == 0) return false;
  const auto [found, is_first] = groups_.try_emplace(sequence.request().prompt_of);
  Group& group = found->second;
  ++group.members;
  if (is_first && BlocksOf(sequence) > 0) group.computes = &sequence;
  if (group.computes == nullptr || group.computes == &sequence) return false;
  group.held.push_back(&sequence);
  ++num_held_;
  return true;
}

std::vector<Sequence*> SharedPrompts::TakeReady(const Sequence& sequence) {
  if (sequence.request().prompt_of == 0) return {};
  Group& group = groups_.at(sequence.request().prompt_of);
  const bool has_all = sequence.blocks_cached() >= BlocksOf(sequence);
  if (group.computes != &sequence || !has_all) return {};
  group.computes = nullptr;
  num_held_ -= static_cast<std::int32_t>(group.held.size());
  return std::exchange(group.held, {});
}

Sequence* SharedPrompts::PassOn(const Sequence& sequence) {
  if (sequence.request().prompt_of == 0) return nullptr;
  Group& group = groups_.at(sequence.request().prompt_of);
  if (group.computes != &sequence) return nullptr;
  group.computes = nullptr;
  if (group.held.empty()) return nullptr;
  Sequence* const next = group.held.front();
  group.held.erase(group.held.begin());
  --num_held_;
  group.computes = next;
  return next;
}

bool SharedPrompts::Release(const Sequence& sequence) {
  if (sequence.request().prompt_of == 0) return false;
  const bool was_held = std::erase(groups_.at(sequence.request().prompt_of).held, &sequence) > 0;
  if (was_held) --num_held_;
  return was_held;
}

bool SharedPrompts::Leave(const Sequence& sequence) {
  if (sequence.request().prompt_of == 0) return false;
  const auto group = groups_.find(sequence.request().prompt_of);
  CHECK(group != groups_.end() && group->second.computes != &sequence, "it has passed it on");
  if (--group->second.members > 0) return false;
  groups_.erase(group);
  return true;
}

}  // namespace thinkwire::worker::engine
