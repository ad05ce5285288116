#include "worker/text/piece_cache.h"

#include <algorithm>
#include <utility>

namespace thinkwire::worker::text {

void PieceCache::Keep(std::string_view piece, TextKind kind, const std::vector<std::int32_t>& ids,
                      std::size_t first) {
  const std::size_t num_ids = ids.size() - first;
  if (piece.size() > kMaxBytes || num_ids == 0 || num_ids > kMaxIds) return;
  Entry entry = EntryFor(piece, kind);
  entry.num_ids = static_cast<std::uint8_t>(num_ids);
  std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(first), num_ids, entry.ids.begin());
  entries_[Place(entry)] = entry;
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
  return std::make_unique<PieceCache>();
}

void PieceCachePool::Return(std::unique_ptr<PieceCache> cache) {
  const MutexLock lock(mu_);
  idle_.push_back(std::move(cache));
}

}  // namespace thinkwire::worker::text
