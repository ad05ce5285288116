#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string_view>
#include <vector>

#include "worker/engine/kept_shares.h"

namespace thinkwire::worker::engine {

class BlockPool;

// One reference to one KV block, given back when the handle goes. Movable, not copyable.
class BlockHandle {
 public:
  BlockHandle() = default;  // holds nothing
  BlockHandle(BlockHandle&& other) noexcept;
  BlockHandle& operator=(BlockHandle&& other) noexcept;
  ~BlockHandle() { Release(); }

  void Release();  // holds nothing afterwards

  bool held() const { return pool_ != nullptr; }
  std::int32_t block() const { return block_; }  // -1 unless held()

 private:
  friend class BlockPool;
  BlockHandle(BlockPool* pool, std::int32_t block) : pool_(pool), block_(block) {}

  BlockPool* pool_ = nullptr;
  std::int32_t block_ = -1;
};

// Which KV blocks are in use, how often each is referenced, and which are worth keeping when they
// are not: of those the next to leave is the one that nobody has used for longest, if that is
// kKeepSteps or more, else one of whoever has most (KeptShares). So nobody fills the cache in
// others' place, and nothing that lies there for ever takes room from those who are there.
// Invariants: (1) every block is either referenced, kept (worth keeping, without references) or
// unused; (2) kept blocks are ordered by when their last reference went.
// Owns: the numbers alone; the memory behind them is the runner's. Outlives its handles.
// Threads: the engine thread. Allocates memory in its constructor and for owners alone.
class BlockPool {
 public:
  explicit BlockPool(std::int32_t num_blocks);  // REQUIRES: num_blocks >= 1
  ~BlockPool();                                 // REQUIRES: no handle is left
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // The first reference to an unused block; nothing if none is unused, which is no error.
  std::optional<BlockHandle> Allocate();

  // Another reference to a referenced block, or the first to a kept one.
  // REQUIRES: `block` is not unused.
  BlockHandle Reference(std::int32_t block);

  // Once it has no references `block` is worth keeping, for `owner`. REQUIRES: it is referenced,
  // and was not.
  void SetWorthKeeping(std::int32_t block, std::string_view owner);
  // It is worth that no more. REQUIRES: it was.
  void SetWorthless(std::int32_t block);

  // The kept block that leaves next; -1 if there is none.
  std::int32_t next_to_leave() const;

  // `step` steps were planned so far: ages are counted in them.
  void OnStep(std::uint64_t step) { step_ = step; }

  std::int32_t total() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t referenced() const { return static_cast<std::int32_t>(referenced_.size()); }
  std::int32_t kept() const { return static_cast<std::int32_t>(kept_.size()); }
  std::int32_t free() const { return total() - referenced(); }  // kept and unused
  std::int32_t references(std::int32_t block) const {
    return blocks_[static_cast<std::size_t>(block)].references;
  }

 private:
  friend class BlockHandle;
  using List = std::list<std::int32_t>;
  struct Block {
    std::int32_t references = 0;
    bool worth_keeping = false;
    std::uint64_t kept_since = 0;  // step
    List::iterator place;          // in the one list that holds it
  };

  Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
  void DropReference(std::int32_t block);

  std::vector<Block> blocks_;
  // Blocks move between the lists by their nodes.
  List referenced_;    // in no order
  List kept_;          // oldest first
  List unused_;        // the next to be given first
  KeptShares shares_;  // of kept_
  std::uint64_t step_ = 0;
};

}  // namespace thinkwire::worker::engine
