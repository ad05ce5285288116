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

BlockHandle BlockHandle::Share() const {
  CHECK(held(), "only a held block can be shared");
  pool_->AddReference(block_);
  return BlockHandle(pool_, block_);
}

void BlockHandle::Release() {
  if (!held()) return;
  std::exchange(pool_, nullptr)->DropReference(std::exchange(block_, -1));
}

BlockPool::BlockPool(std::int32_t num_blocks) {
  CHECK(num_blocks >= 1, "a pool holds at least one block");
  references_.assign(static_cast<std::size_t>(num_blocks), 0);
  free_.reserve(references_.size());
  for (std::int32_t block = num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

BlockPool::~BlockPool() { CHECK(referenced() == 0, "the pool outlives its handles"); }

std::optional<BlockHandle> BlockPool::Allocate() {
  if (free_.empty()) return std::nullopt;
  const std::int32_t block = free_.back();
  free_.pop_back();
  AddReference(block);
  return BlockHandle(this, block);
}

void BlockPool::AddReference(std::int32_t block) { ++references_[static_cast<std::size_t>(block)]; }

void BlockPool::DropReference(std::int32_t block) {
  std::int32_t& references = references_[static_cast<std::size_t>(block)];
  CHECK(references > 0, "a reference is dropped once");
  if (--references == 0) free_.push_back(block);
}

}  // namespace thinkwire::worker::engine
