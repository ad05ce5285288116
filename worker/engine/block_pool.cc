#include "worker/engine/block_pool.h"

#include <utility>

#include "common/check.h"
#include "common/peer_limits.h"

namespace thinkwire::worker::engine {

BlockHandle::BlockHandle(BlockHandle&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)), block_(std::exchange(other.block_, -1)) {}

BlockHandle& BlockHandle::operator=(BlockHandle&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = std::exchange(other.pool_, nullptr);
    block_ = std::exchange(other.block_, -1);
  }
  return *this;
}

void BlockHandle::Release() {
  if (!held()) return;
  std::exchange(pool_, nullptr)->DropReference(std::exchange(block_, -1));
}

BlockPool::BlockPool(std::int32_t num_blocks) : shares_(num_blocks) {
  CHECK(num_blocks >= 1, "a pool holds at least one block");
  blocks_.resize(static_cast<std::size_t>(num_blocks));
  for (std::int32_t block = 0; block < num_blocks; ++block) {
    at(block).place = unused_.insert(unused_.end(), block);
  }
}

BlockPool::~BlockPool() { CHECK(referenced() == 0, "the pool outlives its handles"); }

std::optional<BlockHandle> BlockPool::Allocate() {
  if (unused_.empty()) return std::nullopt;
  const std::int32_t block = unused_.front();
  referenced_.splice(referenced_.end(), unused_, unused_.begin());
  at(block).references = 1;
  return BlockHandle(this, block);
}

BlockHandle BlockPool::Reference(std::int32_t block) {
  Block& state = at(block);
  if (state.references == 0) {
    CHECK(state.worth_keeping, "an unused block holds nothing to refer to");
    referenced_.splice(referenced_.end(), kept_, state.place);
    shares_.Take(block);
  }
  ++state.references;
  return BlockHandle(this, block);
}

void BlockPool::SetWorthKeeping(std::int32_t block, std::string_view owner) {
  Block& state = at(block);
  CHECK(state.references > 0 && !state.worth_keeping, "who refers to a block says so once");
  state.worth_keeping = true;
  shares_.SetOwner(block, owner);
}

void BlockPool::SetWorthless(std::int32_t block) {
  Block& state = at(block);
  CHECK(state.worth_keeping, "it was worth keeping");
  state.worth_keeping = false;
  if (state.references == 0) {
    shares_.Take(block);
    unused_.splice(unused_.begin(), kept_, state.place);
  }
  shares_.ClearOwner(block);
}

std::int32_t BlockPool::next_to_leave() const {
  if (kept_.empty()) return -1;
  const std::int32_t oldest = kept_.front();
  const Block& state = blocks_[static_cast<std::size_t>(oldest)];
  return step_ - state.kept_since >= kKeepSteps ? oldest : shares_.OldestOfLargest();
}

void BlockPool::DropReference(std::int32_t block) {
  Block& state = at(block);
  CHECK(state.references > 0, "a reference is dropped once");
  if (--state.references > 0) return;
  if (state.worth_keeping) {
    kept_.splice(kept_.end(), referenced_, state.place);
    shares_.Keep(block);
    state.kept_since = step_;
  } else {
    unused_.splice(unused_.begin(), referenced_, state.place);
  }
}

}  // namespace thinkwire::worker::engine
