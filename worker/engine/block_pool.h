#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace thinkwire::worker::engine {

class BlockPool;

// One reference to one KV block, given back when the handle goes. Movable, not copyable.
class BlockHandle {
 public:
  BlockHandle() = default;  // holds nothing
  BlockHandle(BlockHandle&& other) noexcept;
  BlockHandle& operator=(BlockHandle&& other) noexcept;
  ~BlockHandle() { Release(); }

  // Another reference to the same block. REQUIRES: held().
  BlockHandle Share() const;

  void Release();  // holds nothing afterwards

  bool held() const { return pool_ != nullptr; }
  std::int32_t block() const { return block_; }  // -1 unless held()

 private:
  friend class BlockPool;
  BlockHandle(BlockPool* pool, std::int32_t block) : pool_(pool), block_(block) {}

  BlockPool* pool_ = nullptr;
  std::int32_t block_ = -1;
};

// Which KV blocks are in use, and how often each is referenced.
// Invariants: (1) a block is free exactly when it has no references; (2) a free block is in the
// free list once; (3) free() + referenced() == total().
// Owns: the numbers alone; the memory behind them is the runner's. Outlives its handles.
// Threads: the engine thread.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_blocks);  // REQUIRES: num_blocks >= 1
  ~BlockPool();                                 // REQUIRES: no handle is left
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // The first reference to a free block; nothing if none is free, which is no error.
  std::optional<BlockHandle> Allocate();

  std::int32_t total() const { return static_cast<std::int32_t>(references_.size()); }
  std::int32_t free() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t referenced() const { return total() - free(); }
  std::int32_t references(std::int32_t block) const {
    return references_[static_cast<std::size_t>(block)];
  }

 private:
  friend class BlockHandle;
  void AddReference(std::int32_t block);
  void DropReference(std::int32_t block);

  std::vector<std::int32_t> references_;  // by block
  std::vector<std::int32_t> free_;        // a stack; its capacity is total() from the start
};

}  // namespace thinkwire::worker::engine
