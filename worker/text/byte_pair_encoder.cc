#include "worker/text/byte_pair_encoder.h"

#include <algorithm>
#include <queue>

namespace thinkwire::worker::text {
namespace {

// Up to here a scan of the whole piece per merge beats the queue.
constexpr size_t kMaxShortPiece = 48;

constexpr uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void BytePairEncoder::AddMerge(int32_t left, int32_t right, int32_t rank, int32_t merged) {
  merges_.insert_or_assign(PairKey(left, right), Merge{rank, merged});
}

BytePairEncoder::Merge BytePairEncoder::FindMerge(int32_t left, int32_t right) const {
  const auto merge = merges_.find(PairKey(left, right));
  return merge == merges_.end() ? kNoMerge : merge->second;
}

void BytePairEncoder::Encode(std::string_view piece, std::vector<int32_t>* ids) const {
  if (piece.size() <= kMaxShortPiece) {
    EncodeShort(piece, ids);
  } else {
    EncodeLong(piece, ids);
  }
}

void BytePairEncoder::EncodeShort(std::string_view piece, std::vector<int32_t>* ids) const {
  std::array<int32_t, kMaxShortPiece> symbols;
  std::array<Merge, kMaxShortPiece> merges;  // merges[i]: of symbols i and i + 1
  size_t size = 0;
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id != kNoId) symbols[size++] = id;
  }
  for (size_t i = 0; i + 1 < size; ++i) merges[i] = FindMerge(symbols[i], symbols[i + 1]);
  while (size > 1) {
    const auto merges_end = merges.begin() + (size - 1);
    const auto lowest = std::min_element(
        merges.begin(), merges_end, [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (lowest->id == kNoId) break;
    const size_t at = lowest - merges.begin();
    symbols[at] = lowest->id;
    std::copy(symbols.begin() + at + 2, symbols.begin() + size, symbols.begin() + at + 1);
    if (at + 2 < size) std::copy(lowest + 1, merges_end, lowest);
    --size;
    if (at > 0) merges[at - 1] = FindMerge(symbols[at - 1], symbols[at]);
    if (at + 1 < size) merges[at] = FindMerge(symbols[at], symbols[at + 1]);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.begin() + size);
}

void BytePairEncoder::EncodeLong(std::string_view piece, std::vector<int32_t>* ids) const {
  struct Symbol {
    int32_t id;  // kNoId once it has become part of the one before
    uint32_t previous;
    uint32_t next;
  };
  struct Candidate {
    int32_t rank;
    uint32_t at;
    int32_t left;
    int32_t right;
    int32_t merged;
    bool operator<(const Candidate& other) const {  // the queue's top is the greatest
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr uint32_t kEnd = UINT32_MAX;
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (const char c : piece) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    if (id == kNoId) continue;
    const auto at = static_cast<uint32_t>(symbols.size());
    symbols.push_back({id, at == 0 ? kEnd : at - 1, at + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = kEnd;

  std::vector<Candidate> storage;
  storage.reserve(symbols.size());
  std::priority_queue<Candidate> queue({}, std::move(storage));
  const auto consider = [&](uint32_t at) {
    if (at == kEnd || symbols[at].next == kEnd) return;
    const int32_t left = symbols[at].id;
    const int32_t right = symbols[symbols[at].next].id;
    const Merge merge = FindMerge(left, right);
    if (merge.id != kNoId) queue.push({merge.rank, at, left, right, merge.id});
  };
  for (uint32_t at = 0; at < symbols.size(); ++at) consider(at);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.at];
    // A candidate whose pair has been merged otherwise since.
    if (left.id != best.left || left.next == kEnd || symbols[left.next].id != best.right) continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged;
    left.next = right.next;
    right.id = kNoId;
    if (left.next != kEnd) symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (uint32_t at = 0; at != kEnd; at = symbols[at].next) ids->push_back(symbols[at].id);
}

}  // namespace thinkwire::worker::text
