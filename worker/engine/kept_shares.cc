#include "worker/engine/kept_shares.h"

#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

KeptShares::KeptShares(std::int32_t num_blocks) : blocks_(static_cast<std::size_t>(num_blocks)) {
  for (std::int32_t block = 0; block < num_blocks; ++block) {
    at(block) = {.owner = owners_.end(), .node = spare_.insert(spare_.end(), block)};
  }
}

void KeptShares::SetOwner(std::int32_t block, std::string_view owner) {
  const auto [found, is_new] = owners_.try_emplace(std::string(owner));
  if (is_new) {
    found->second.serial = ++last_serial_;
    by_kept_.insert(RankOf(found->second));
  }
  ++found->second.blocks;
  at(block).owner = found;
}

void KeptShares::ClearOwner(std::int32_t block) {
  const auto owner = std::exchange(at(block).owner, owners_.end());
  if (--owner->second.blocks > 0) return;
  by_kept_.erase(RankOf(owner->second));
  owners_.erase(owner);
}

void KeptShares::Keep(std::int32_t block) {
  Owner& owner = at(block).owner->second;
  const Rank before = RankOf(owner);
  owner.kept.splice(owner.kept.end(), spare_, at(block).node);
  Rerank(owner, before);
}

void KeptShares::Take(std::int32_t block) {
  Owner& owner = at(block).owner->second;
  const Rank before = RankOf(owner);
  spare_.splice(spare_.end(), owner.kept, at(block).node);
  Rerank(owner, before);
}

void KeptShares::Rerank(const Owner& owner, const Rank& before) {
  auto node = by_kept_.extract(before);
  node.value() = RankOf(owner);
  by_kept_.insert(std::move(node));
}

std::int32_t KeptShares::OldestOfLargest() const {
  CHECK(!by_kept_.empty() && std::get<0>(*by_kept_.rbegin()) > 0, "a block is kept");
  return std::get<const Owner*>(*by_kept_.rbegin())->kept.front();
}

}  // namespace thinkwire::worker::engine
