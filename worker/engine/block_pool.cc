#include "worker/engine/block_pool.h"

#include <utility>

#include "common/check.h"

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

BlockPool::BlockPool(std::int32_t num_blocks) {
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
  }
  ++state.references;
  return BlockHandle(this, block);
}

void BlockPool::SetWorthKeeping(std::int32_t block, bool worth_keeping) {
  Block& state = at(block);
  CHECK(state.references > 0 || state.worth_keeping, "an unused block is not worth keeping");
  state.worth_keeping = worth_keeping;
  if (state.references == 0 && !worth_keeping) {
    unused_.splice(unused_.begin(), kept_, state.place);
  }
}

void BlockPool::DropReference(std::int32_t block) {
  Block& state = at(block);
  CHECK(state.references > 0, "a reference is dropped once");
  if (--state.references > 0) return;
  if (state.worth_keeping) {
    kept_.splice(kept_.end(), referenced_, state.place);
  } else {
    unused_.splice(unused_.begin(), referenced_, state.place);
  }
}

}  // namespace thinkwire::worker::engine
