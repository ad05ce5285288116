#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "worker/text/byte_words.h"

namespace thinkwire::worker::text {

// Which tokens a piece may become.
enum class TextKind : std::uint8_t {
  kPrompt,   // any
  kMessage,  // none that was added
};

// The ids of pieces that were encoded lately: texts repeat their words, and an entry here is nearer
// than the vocabulary, and many times nearer than merging. Keeps pieces of up to kMaxBytes and
// kMaxIds, each at one place of its own, where a later one takes an earlier one's.
// Owns: 1 MiB. Threads: one at a time.
class PieceCache {
 public:
  static constexpr std::size_t kMaxBytes = 2 * kWordBytes;
  static constexpr std::size_t kMaxIds = 3;

  PieceCache() : entries_(std::size_t{1} << kLogNumEntries) {}

  // Appends the ids of `piece`, which is not empty; false if they are not known.
  bool Append(std::string_view piece, TextKind kind, std::vector<std::int32_t>* ids) const {
    if (piece.size() > kMaxBytes) return false;
    const Entry wanted = EntryFor(piece, kind);
    const Entry& entry = entries_[Place(wanted)];
    if (entry.begin != wanted.begin || entry.end != wanted.end || entry.length != wanted.length ||
        entry.kind != kind) {
      return false;
    }
    ids->push_back(entry.ids[0]);
    for (std::size_t i = 1; i < entry.num_ids; ++i) ids->push_back(entry.ids[i]);
    return true;
  }

  // `ids` from `first` on are those of `piece`, which is not empty.
  void Keep(std::string_view piece, TextKind kind, const std::vector<std::int32_t>& ids,
            std::size_t first);

 private:
  static constexpr int kLogNumEntries = 15;

  struct Entry {
    std::uint64_t begin = 0;  // the piece's first 8 bytes (ShortWord if it has less)
    std::uint64_t end = 0;    // its last 8, 0 if it has no more than 8
    std::uint8_t length = 0;  // 0: no piece
    TextKind kind = TextKind::kPrompt;
    std::uint8_t num_ids = 0;
    std::array<std::int32_t, kMaxIds> ids{};
  };
  static_assert(sizeof(Entry) == 32);

  static Entry EntryFor(std::string_view piece, TextKind kind) {
    const auto length = static_cast<std::uint8_t>(piece.size());
    if (length <= kWordBytes) return {.begin = ShortWord(piece), .length = length, .kind = kind};
    return {.begin = LoadWord(piece.data()),
            .end = LoadWord(piece.data() + length - kWordBytes),
            .length = length,
            .kind = kind};
  }

  static std::size_t Place(const Entry& entry) {
    return HashWords(entry.begin, entry.end + entry.length) >> (64 - kLogNumEntries);
  }

  std::vector<Entry> entries_;
};

// Lends caches to callers; there come to be as many as there were callers at once.
// Threads: any.
class PieceCachePool {
 public:
  // Holds a cache for its own lifetime, within the pool's.
  class Lease {
   public:
    explicit Lease(PieceCachePool& pool) : pool_(pool), cache_(pool.Take()) {}
    ~Lease() { pool_.Return(std::move(cache_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    PieceCache& operator*() const { return *cache_; }

   private:
    PieceCachePool& pool_;
    std::unique_ptr<PieceCache> cache_;
  };

 private:
  std::unique_ptr<PieceCache> Take();
  void Return(std::unique_ptr<PieceCache> cache);

  Mutex mu_;
  std::vector<std::unique_ptr<PieceCache>> idle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::text
