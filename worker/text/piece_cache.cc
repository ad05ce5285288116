#include "worker/text/piece_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace thinkwire::worker::text {
namespace {

constexpr std::size_t kMaxPlaces = std::size_t{1} << 17;
constexpr std::size_t kMinPlaces = std::size_t{1} << 8;
constexpr std::size_t kPlacesPerLongEntry = 8;

std::size_t NumPlaces(std::size_t vocabulary_size) {
  return std::bit_ceil(std::clamp(vocabulary_size, kMinPlaces, kMaxPlaces));
}

}  // namespace

PieceCache::PieceCache(std::size_t vocabulary_size)
    : shift_(64 - std::countr_zero(NumPlaces(vocabulary_size))),
      places_(NumPlaces(vocabulary_size)),
      long_entries_(places_.size() / kPlacesPerLongEntry) {
  static_assert(kMaxPlaces * (sizeof(Place) + sizeof(LongEntry) / kPlacesPerLongEntry) ==
                kMaxMemoryBytes);
}

std::size_t PieceCache::LongPlace(std::string_view piece) const {
  return HashBytes(piece) >> 32 & (long_entries_.size() - 1);
}

bool PieceCache::AppendLong(std::string_view piece, TextKind kind,
                            std::vector<std::int32_t>* ids) const {
  if (piece.size() > kMaxLongBytes) return false;
  const LongEntry& entry = long_entries_[LongPlace(piece)];
  if (entry.length != piece.size() || entry.kind != kind ||
      std::memcmp(entry.bytes.data(), piece.data(), piece.size()) != 0) {
    return false;
  }
  ids->insert(ids->end(), entry.ids.begin(), entry.ids.begin() + entry.num_ids);
  return true;
}

void PieceCache::Keep(std::string_view piece, const Key& key, TextKind kind,
                      std::span<const std::int32_t> ids) {
  const auto num_ids = static_cast<std::uint8_t>(ids.size());
  if (ids.empty() || ids.size() > kMaxLongIds || piece.size() > kMaxLongBytes) return;
  if (key.tag != 0 && ids.size() <= kMaxShortIds) {
    // Either in turn, so that of three pieces that take turns here some are found.
    Entry& entry = places_[key.place][num_kept_++ % 2];
    entry = {key.begin, key.end, static_cast<std::uint8_t>(key.tag), num_ids, {}};
    std::copy(ids.begin(), ids.end(), entry.ids.begin());
    return;
  }
  LongEntry& entry = long_entries_[LongPlace(piece)];
  entry.length = static_cast<std::uint8_t>(piece.size());
  entry.kind = kind;
  entry.num_ids = num_ids;
  std::copy(ids.begin(), ids.end(), entry.ids.begin());
  std::copy(piece.begin(), piece.end(), entry.bytes.begin());
}

std::unique_ptr<PieceCache> PieceCachePool::Take() {
  {
    const MutexLock lock(mu_);
    if (!idle_.empty()) {
      std::unique_ptr<PieceCache> cache = std::move(idle_.back());
      idle_.pop_back();
      return cache;
    }
  }
  return std::make_unique<PieceCache>(vocabulary_size_);
}

void PieceCachePool::Return(std::unique_ptr<PieceCache> cache) {
  const MutexLock lock(mu_);
  idle_.push_back(std::move(cache));
}

}  // namespace thinkwire::worker::text
