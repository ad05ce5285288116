#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "worker/engine/block_pool.h"

namespace thinkwire::worker::engine {

// Which KV blocks hold which tokens, so that a sequence that begins like an earlier one need not
// compute the same again.
//
// Cached are full blocks alone. A block is known by its place: its own ids, and the cached block
// before it (for the first of a sequence: the salt). The place is compared in full, not by its
// hash, and a block that leaves the cache and comes back is another one to those that followed it;
// so what is found holds exactly the tokens asked for, under exactly the salt, and a crafted
// collision of hashes costs time and nothing else.
//
// Who refers to a cached block also refers to the one before it, and gives the later one back first
// (Scheduler sees to both). So of one owner's blocks without references those leave first that were
// not used for longest, and those that follow a block before it. Whose block is next: BlockPool.
//
// Owns: the index; the blocks belong to the pool. Threads: the engine thread. Bounded by the pool:
// one entry a block, of block_tokens ids.
class PrefixCache {
 public:
  // `pool` must outlive the cache.
  PrefixCache(BlockPool& pool, std::int32_t block_tokens);

  // The longest chain of cached blocks that holds the first of `ids` under `salt`, first to last;
  // a block that would hold part of the ids is not in it. Changes nothing, not even the order in
  // which blocks leave.
  std::vector<std::int32_t> Match(std::string_view salt, std::span<const std::int32_t> ids) const;

  // Caches `block`, which will never be written again, for `owner`, unless another block has its
  // place. Returns the block that has it. `previous` is -1 for the first of a sequence, and `salt`
  // matters then alone. REQUIRES: as many ids as a block has; the caller refers to `block` and to
  // `previous`; `previous` is cached and `block` is not.
  std::int32_t Insert(std::string_view salt, std::int32_t previous,
                      std::span<const std::int32_t> ids, std::int32_t block,
                      std::string_view owner = {});

  // Takes `block` out of the cache, if it is in it. Those that follow it are never found again.
  void Forget(std::int32_t block);

  // A block to write to: an unused one, else the one that leaves the cache for it. Nothing if every
  // block is referenced, which is no error.
  std::optional<BlockHandle> Allocate();

  std::size_t size() const { return index_.size(); }
  bool contains(std::int32_t block) const { return at(block).serial != 0; }
  // Whether cached `block` follows `previous`, or is a first one if that is -1.
  bool follows(std::int32_t block, std::int32_t previous) const;

 private:
  struct Entry {
    std::uint64_t serial = 0;    // never given twice; 0: not cached
    std::uint64_t previous = 0;  // serial of the block before; 0: none
    std::string salt;            // of a first block
  };
  struct Place {
    std::uint64_t previous = 0;
    std::string_view salt;
    std::span<const std::int32_t> ids;

    bool operator==(const Place& other) const;
    template <class H>
    friend H AbslHashValue(H state, const Place& place) {
      state = H::combine_contiguous(std::move(state), place.ids.data(), place.ids.size());
      return H::combine(std::move(state), place.previous, place.salt);
    }
  };
  // The index holds blocks and is searched by places.
  struct HashPlace {
    using is_transparent = void;
    const PrefixCache* cache;
    std::size_t operator()(const Place& place) const;
    std::size_t operator()(std::int32_t block) const { return (*this)(cache->PlaceOf(block)); }
  };
  struct SamePlace {
    using is_transparent = void;
    const PrefixCache* cache;
    bool operator()(std::int32_t a, std::int32_t b) const { return a == b; }
    bool operator()(std::int32_t block, const Place& place) const {
      return cache->PlaceOf(block) == place;
    }
  };

  const Entry& at(std::int32_t block) const { return entries_[static_cast<std::size_t>(block)]; }
  Entry& at(std::int32_t block) { return entries_[static_cast<std::size_t>(block)]; }
  std::span<const std::int32_t> IdsOf(std::int32_t block) const;
  Place PlaceOf(std::int32_t block) const;

  BlockPool& pool_;
  const std::size_t block_tokens_;
  std::vector<Entry> entries_;     // by block
  std::vector<std::int32_t> ids_;  // [blocks, block_tokens]
  std::uint64_t last_serial_ = 0;
  absl::flat_hash_set<std::int32_t, HashPlace, SamePlace> index_;
};

}  // namespace thinkwire::worker::engine
