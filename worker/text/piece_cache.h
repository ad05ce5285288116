#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "worker/text/byte_words.h"
#include "worker/text/huge_page_allocator.h"

namespace thinkwire::worker::text {

// Which tokens a piece may become.
enum class TextKind : std::uint8_t {
  kPrompt,   // any
  kMessage,  // none that was added
};

// The ids of pieces that were encoded lately: texts repeat their words, and an entry here is nearer
// than the vocabulary, and many times nearer than merging.
//
// Two tables. Pieces of up to kMaxShortBytes with up to kMaxShortIds, nearly all of any text, share
// a cache line with one other; pieces of up to kMaxLongBytes with up to kMaxLongIds have two lines
// each. A piece has one place by its hash, where a later one takes an earlier one's.
// Owns: up to kMaxMemoryBytes. Threads: one at a time.
class PieceCache {
 public:
  static constexpr std::size_t kMaxShortBytes = 2 * kWordBytes;
  static constexpr std::size_t kMaxShortIds = 3;
  static constexpr std::size_t kMaxLongBytes = 80;
  static constexpr std::size_t kMaxLongIds = 11;
  static constexpr std::size_t kMaxMemoryBytes = std::size_t{10} << 20;

  // A piece as the table of short ones has it.
  struct Key {
    std::uint64_t begin;  // its first 8 bytes, 0 behind its end
    std::uint64_t end;    // the next 8
    std::uint32_t tag;    // its length and its kind; 0: too long for the table
    std::uint32_t place;
  };

  // The more tokens a vocabulary has, the more memory.
  explicit PieceCache(std::size_t vocabulary_size);

  // REQUIRES: `piece`, which is not empty, lies in a text that ends at `text_end`.
  Key KeyOf(std::string_view piece, const char* text_end, TextKind kind) const {
    if (piece.size() > kMaxShortBytes) return {};
    const char* bytes = piece.data();
    std::array<char, kMaxShortBytes> copy;
    if (text_end - bytes < static_cast<std::ptrdiff_t>(kMaxShortBytes)) {
      copy.fill(0);
      std::memcpy(copy.data(), bytes, piece.size());
      bytes = copy.data();
    }
    Key key;
    key.begin = LoadWord(bytes) & kMasks[piece.size()].begin;
    key.end = LoadWord(bytes + kWordBytes) & kMasks[piece.size()].end;
    key.tag = static_cast<std::uint32_t>(piece.size() << 1) | static_cast<std::uint32_t>(kind);
    key.place = static_cast<std::uint32_t>(HashWords(key.begin, key.end + key.tag) >> shift_);
    return key;
  }

  // Has the memory that Find(key) reads brought nearer.
  void Prefetch(const Key& key) const { __builtin_prefetch(&places_[key.place]); }

  // Writes the piece's ids to `out`, where there is room for kMaxShortIds whatever their number,
  // and returns that; 0 if they are not known.
  std::size_t Find(const Key& key, std::int32_t* out) const {
    const Place& place = places_[key.place];
    const bool is_second = Holds(place[1], key);
    const Entry& entry = place[is_second ? 1 : 0];
    if (!is_second && !Holds(entry, key)) return 0;
    std::memcpy(out, entry.ids.data(), sizeof(entry.ids));
    return entry.num_ids;
  }

  // Appends the ids of a piece that Find does not know; false if they are not known here either.
  bool AppendLong(std::string_view piece, TextKind kind, std::vector<std::int32_t>* ids) const;

  // `ids` are those of `piece`, whose key is `key`.
  void Keep(std::string_view piece, const Key& key, TextKind kind,
            std::span<const std::int32_t> ids);

 private:
  struct Entry {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint8_t tag = 0;  // 0: no piece
    std::uint8_t num_ids = 0;
    std::array<std::int32_t, kMaxShortIds> ids{};
  };
  static_assert(sizeof(Entry) == 32);

  struct alignas(64) Place : std::array<Entry, 2> {};

  struct alignas(64) LongEntry {
    std::uint8_t length = 0;  // 0: no piece
    TextKind kind{};
    std::uint8_t num_ids = 0;
    std::array<std::int32_t, kMaxLongIds> ids{};
    std::array<char, kMaxLongBytes> bytes{};
  };
  static_assert(sizeof(LongEntry) == 128);

  // What belongs to a piece, by its length.
  struct Mask {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  static constexpr std::array<Mask, kMaxShortBytes + 1> MakeMasks();
  static const std::array<Mask, kMaxShortBytes + 1> kMasks;

  // Without a branch for each of the three, which nobody could predict.
  static bool Holds(const Entry& entry, const Key& key) {
    return ((entry.begin ^ key.begin) | (entry.end ^ key.end) | (entry.tag ^ key.tag)) == 0;
  }

  std::size_t LongPlace(std::string_view piece) const;

  int shift_;  // the highest bits of a hash are its place
  HugePageVector<Place> places_;
  HugePageVector<LongEntry> long_entries_;
  std::uint32_t num_kept_ = 0;
};

constexpr std::array<PieceCache::Mask, PieceCache::kMaxShortBytes + 1> PieceCache::MakeMasks() {
  std::array<Mask, kMaxShortBytes + 1> masks;
  for (std::size_t i = 0; i < kMaxShortBytes; ++i) {
    masks[i + 1] = masks[i];
    std::uint64_t& word = i < kWordBytes ? masks[i + 1].begin : masks[i + 1].end;
    word |= std::uint64_t{0xFF} << 8 * (i % kWordBytes);
  }
  return masks;
}
inline constexpr std::array<PieceCache::Mask, PieceCache::kMaxShortBytes + 1> PieceCache::kMasks =
    PieceCache::MakeMasks();

// Lends caches to callers; there come to be as many as there were callers at once.
// Threads: any.
class PieceCachePool {
 public:
  explicit PieceCachePool(std::size_t vocabulary_size) : vocabulary_size_(vocabulary_size) {}

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

  const std::size_t vocabulary_size_;
  Mutex mu_;
  std::vector<std::unique_ptr<PieceCache>> idle_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::text
