#pragma once

#include <cstdint>
#include <list>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace thinkwire::worker::engine {

// Whose blocks are kept without references, and whose is taken when one is needed: the oldest of
// whoever has most. So who fills the cache drives out his own blocks first, and those with less
// than others lose nothing to them: longest queue drop, which shares a full buffer evenly among
// those who want more than that (Suter et al., "Buffer Management Schemes for Supporting TCP in
// Gigabit Routers with Per-Flow Queueing", IEEE JSAC 17(6), 1999).
//
// Who comes under many names gets as many shares. A block that others hold too counts as its first
// owner's, and may leave before one that follows it, which is then never found again and leaves in
// its own time.
// Cost: O(log owners) a block. Threads: the engine thread. Bounded by the blocks.
class KeptShares {
 public:
  explicit KeptShares(std::int32_t num_blocks);
  KeptShares(const KeptShares&) = delete;
  KeptShares& operator=(const KeptShares&) = delete;

  // From now on `block` is `owner`'s, or nobody's. REQUIRES: it is not kept; it is nobody's, or is
  // somebody's.
  void SetOwner(std::int32_t block, std::string_view owner);
  void ClearOwner(std::int32_t block);

  // REQUIRES: `block` is somebody's, and not kept, or is.
  void Keep(std::int32_t block);
  void Take(std::int32_t block);

  // The block of whoever has most kept that is kept for longest. REQUIRES: one is.
  std::int32_t OldestOfLargest() const;

 private:
  using List = std::list<std::int32_t>;
  struct Owner {
    std::uint64_t serial = 0;
    std::int32_t blocks = 0;  // that are his
    List kept{};              // of them, oldest first
  };
  using Owners = std::unordered_map<std::string, Owner>;
  struct Block {
    Owners::iterator owner;
    List::iterator node;  // in its owner's list or in spare_
  };
  using Rank = std::tuple<std::size_t, std::uint64_t, const Owner*>;  // kept, serial

  static Rank RankOf(const Owner& owner) { return {owner.kept.size(), owner.serial, &owner}; }
  Block& at(std::int32_t block) { return blocks_[static_cast<std::size_t>(block)]; }
  // `owner` had the rank `before`.
  void Rerank(const Owner& owner, const Rank& before);

  Owners owners_;  // who has blocks
  std::uint64_t last_serial_ = 0;
  std::set<Rank> by_kept_;  // all owners
  std::vector<Block> blocks_;
  List spare_;  // nodes of blocks that are not kept
};

}  // namespace thinkwire::worker::engine
