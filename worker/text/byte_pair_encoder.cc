#include "worker/text/byte_pair_encoder.h"

#include <functional>
#include <queue>
#include <utility>

namespace thinkwire::worker::text {
namespace {

// Up to here a scan of the whole piece per merge beats the queue.
constexpr std::size_t kMaxShortPiece = 48;

constexpr std::uint64_t PairKey(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

// A long piece is a list of symbols, linked within a vector.
struct Symbol {
  std::int32_t id;  // kNoId once it has become part of the one before
  std::uint32_t previous;
  std::uint32_t next;
};
constexpr std::uint32_t kEnd = UINT32_MAX;

std::vector<Symbol> LinkBytes(std::string_view piece,
                              const std::array<std::int32_t, 256>& byte_ids) {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (const char c : piece) {
    const std::int32_t id = byte_ids[static_cast<std::uint8_t>(c)];
    if (id == BytePairEncoder::kNoId) continue;
    const auto at = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({id, at == 0 ? kEnd : at - 1, at + 1});
  }
  if (!symbols.empty()) symbols.back().next = kEnd;
  return symbols;
}

// A pair that may merge, by where its left symbol is. The least merges first: the lowest rank, of
// equal ones the leftmost.
constexpr std::uint64_t MakeCandidate(std::int32_t rank, std::uint32_t left_at) {
  return std::uint64_t{static_cast<std::uint32_t>(rank)} << 32 | left_at;
}

}  // namespace

void BytePairEncoder::AddMerge(std::int32_t left, std::int32_t right, std::int32_t rank,
                               std::int32_t merged) {
  merges_.insert_or_assign(PairKey(left, right), Merge{rank, merged});
}

BytePairEncoder::Merge BytePairEncoder::FindMerge(std::int32_t left, std::int32_t right) const {
  const auto merge = merges_.find(PairKey(left, right));
  return merge == merges_.end() ? kNoMerge : merge->second;
}

void BytePairEncoder::Encode(std::string_view piece, std::vector<std::int32_t>* ids) const {
  if (piece.size() <= kMaxShortPiece) {
    EncodeShort(piece, ids);
  } else {
    EncodeLong(piece, ids);
  }
}

void BytePairEncoder::EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const {
  std::array<std::int32_t, kMaxShortPiece> symbols;
  std::array<Merge, kMaxShortPiece> merges;  // merges[i]: of symbols i and i + 1
  std::size_t size = 0;
  for (const char c : piece) {
    const std::int32_t id = byte_ids_[static_cast<std::uint8_t>(c)];
    if (id != kNoId) symbols[size++] = id;
  }
  for (std::size_t i = 0; i + 1 < size; ++i) merges[i] = FindMerge(symbols[i], symbols[i + 1]);
  while (size > 1) {
    std::size_t lowest = 0;
    for (std::size_t i = 1; i + 1 < size; ++i) {
      if (merges[i].rank < merges[lowest].rank) lowest = i;
    }
    if (merges[lowest].id == kNoId) break;
    symbols[lowest] = merges[lowest].id;
    --size;
    for (std::size_t i = lowest + 1; i < size; ++i) symbols[i] = symbols[i + 1];
    for (std::size_t i = lowest; i + 1 < size; ++i) merges[i] = merges[i + 1];
    if (lowest > 0) merges[lowest - 1] = FindMerge(symbols[lowest - 1], symbols[lowest]);
    if (lowest + 1 < size) merges[lowest] = FindMerge(symbols[lowest], symbols[lowest + 1]);
  }
  ids->insert(ids->end(), symbols.begin(), symbols.begin() + size);
}

void BytePairEncoder::EncodeLong(std::string_view piece, std::vector<std::int32_t>* ids) const {
  std::vector<Symbol> symbols = LinkBytes(piece, byte_ids_);
  if (symbols.empty()) return;
  const auto merge_at = [&](std::uint32_t at) {
    const std::uint32_t next = symbols[at].next;
    return next == kEnd ? kNoMerge : FindMerge(symbols[at].id, symbols[next].id);
  };
  std::vector<std::uint64_t> candidates;
  candidates.reserve(symbols.size());
  for (std::uint32_t at = 0; at < symbols.size(); ++at) {
    const Merge merge = merge_at(at);
    if (merge.id != kNoId) candidates.push_back(MakeCandidate(merge.rank, at));
  }
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue(
      std::greater<>(), std::move(candidates));
  const auto consider = [&](std::uint32_t at) {
    const Merge merge = at == kEnd ? kNoMerge : merge_at(at);
    if (merge.id != kNoId) queue.push(MakeCandidate(merge.rank, at));
  };
  while (!queue.empty()) {
    const std::uint64_t lowest = queue.top();
    queue.pop();
    const auto at = static_cast<std::uint32_t>(lowest);
    Symbol& left = symbols[at];
    if (left.id == kNoId) continue;
    const Merge merge = merge_at(at);
    if (MakeCandidate(merge.rank, at) != lowest) continue;  // merged otherwise since
    Symbol& right = symbols[left.next];
    left.id = merge.id;
    left.next = right.next;
    right.id = kNoId;
    if (left.next != kEnd) symbols[left.next].previous = at;
    consider(left.previous);
    consider(at);
  }
  for (std::uint32_t at = 0; at != kEnd; at = symbols[at].next) ids->push_back(symbols[at].id);
}

}  // namespace thinkwire::worker::text
