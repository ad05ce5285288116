#include "worker/engine/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "common/check.h"

namespace thinkwire::worker::engine {

bool PrefixCache::Place::operator==(const Place& other) const {
  return previous == other.previous && salt == other.salt && std::ranges::equal(ids, other.ids);
}

std::size_t PrefixCache::HashPlace::operator()(const Place& place) const {
  return absl::Hash<Place>{}(place);
}

PrefixCache::PrefixCache(BlockPool& pool, std::int32_t block_tokens)
    : pool_(pool),
      block_tokens_(static_cast<std::size_t>(block_tokens)),
      entries_(static_cast<std::size_t>(pool.total())),
      ids_(entries_.size() * block_tokens_),
      index_(entries_.size(), HashPlace{this}, SamePlace{this}) {}

std::vector<std::int32_t> PrefixCache::Match(std::string_view salt,
                                             std::span<const std::int32_t> ids) const {
  std::vector<std::int32_t> chain;
  Place place{.previous = 0, .salt = salt, .ids = {}};
  for (; ids.size() >= block_tokens_; ids = ids.subspan(block_tokens_)) {
    place.ids = ids.first(block_tokens_);
    const auto found = index_.find(place);
    if (found == index_.end()) break;
    chain.push_back(*found);
    place.previous = at(*found).serial;
    place.salt = {};
  }
  return chain;
}

std::int32_t PrefixCache::Insert(std::string_view salt, std::int32_t previous,
                                 std::span<const std::int32_t> ids, std::int32_t block,
                                 std::string_view owner) {
  CHECK(ids.size() == block_tokens_, "full blocks alone are cached");
  CHECK(previous < 0 || contains(previous), "the block before is cached");
  CHECK(!contains(block), "a block is cached once");
  const Place place{.previous = previous < 0 ? 0 : at(previous).serial,
                    .salt = previous < 0 ? salt : std::string_view(),
                    .ids = ids};
  if (const auto found = index_.find(place); found != index_.end()) return *found;
  at(block) = {
      .serial = ++last_serial_, .previous = place.previous, .salt = std::string(place.salt)};
  std::ranges::copy(ids, ids_.begin() + static_cast<std::ptrdiff_t>(
                                            static_cast<std::size_t>(block) * block_tokens_));
  index_.insert(block);
  pool_.SetWorthKeeping(block, owner);
  return block;
}

void PrefixCache::Forget(std::int32_t block) {
  if (!contains(block)) return;
  index_.erase(block);
  at(block) = {};
  pool_.SetWorthless(block);
}

std::optional<BlockHandle> PrefixCache::Allocate() {
  std::optional<BlockHandle> block = pool_.Allocate();
  if (block || pool_.next_to_leave() < 0) return block;
  Forget(pool_.next_to_leave());
  return pool_.Allocate();
}

bool PrefixCache::follows(std::int32_t block, std::int32_t previous) const {
  return contains(block) && at(block).previous == (previous < 0 ? 0 : at(previous).serial);
}

std::span<const std::int32_t> PrefixCache::IdsOf(std::int32_t block) const {
  return std::span(ids_).subspan(static_cast<std::size_t>(block) * block_tokens_, block_tokens_);
}

PrefixCache::Place PrefixCache::PlaceOf(std::int32_t block) const {
  return {.previous = at(block).previous, .salt = at(block).salt, .ids = IdsOf(block)};
}

}  // namespace thinkwire::worker::engine
