#include "worker/text/byte_pair_encoder.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <utility>

namespace thinkwire::worker::text {
namespace {

// Up to here a scan of the whole piece per merge beats the queue.
constexpr std::size_t kMaxShortPiece = 48;

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
constexpr std::uint64_t kNoCandidate = MakeCandidate(PairTable::kNoRank, 0);

}  // namespace

void BytePairEncoder::AddMerge(std::int32_t left, std::int32_t right, std::int32_t rank,
                               std::int32_t merged) {
  ranks_.Set(left, right, rank);
  if (static_cast<std::size_t>(rank) >= merged_.size()) merged_.resize(rank + 1, kNoId);
  merged_[rank] = merged;
}

void BytePairEncoder::Finish() {
  byte_ranks_.resize(std::size_t{256} * 256, PairTable::kNoRank);
  for (std::size_t pair = 0; pair < byte_ranks_.size(); ++pair) {
    const std::int32_t left = byte_ids_[pair >> 8];
    const std::int32_t right = byte_ids_[pair & 0xFF];
    if (left != kNoId && right != kNoId) byte_ranks_[pair] = ranks_.Find(left, right);
  }
}

void BytePairEncoder::Encode(std::string_view piece, std::vector<std::int32_t>* ids) const {
  if (piece.size() <= kMaxShortPiece) {
    EncodeShort(piece, ids);
  } else {
    EncodeLong(piece, ids);
  }
}

// Symbols stay at their places, so that no step waits for others to be moved; the two before and
// after all of them merge with none.
void BytePairEncoder::EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const {
  std::array<std::int32_t, kMaxShortPiece + 2> symbols;
  std::array<std::uint8_t, kMaxShortPiece + 2> next;
  std::array<std::uint8_t, kMaxShortPiece + 2> previous;
  std::array<std::uint64_t, kMaxShortPiece + 2> candidates;  // by place of the left one
  std::array<std::uint8_t, kMaxShortPiece + 1> bytes;
  std::uint8_t end = 1;
  for (const char c : piece) {
    bytes[end] = static_cast<std::uint8_t>(c);
    symbols[end] = byte_ids_[bytes[end]];
    end += symbols[end] != kNoId ? 1 : 0;
  }
  symbols[0] = symbols[end] = kNoId;
  for (std::uint8_t i = 1; i < end; ++i) {
    next[i] = i + 1;
    previous[i] = i - 1;
    candidates[i] = kNoCandidate;
    if (i + 1 < end) {
      candidates[i] = MakeCandidate(byte_ranks_[std::size_t{bytes[i]} << 8 | bytes[i + 1]], i);
    }
  }
  while (true) {
    std::uint64_t lowest = kNoCandidate;
    for (std::uint8_t i = 1; i < end; ++i) lowest = std::min(lowest, candidates[i]);
    const auto rank = static_cast<std::int32_t>(lowest >> 32);
    if (rank >= PairTable::kNoRank) break;
    const auto left = static_cast<std::uint8_t>(lowest);
    const std::uint8_t right = next[left];
    const std::uint8_t after = next[right];
    const std::uint8_t before = previous[left];
    const std::int32_t merged = merged_[rank];
    candidates[right] = kNoCandidate;
    candidates[left] = MakeCandidate(ranks_.Find(merged, symbols[after]), left);
    candidates[before] = MakeCandidate(ranks_.Find(symbols[before], merged), before);
    symbols[left] = merged;
    next[left] = after;
    previous[after] = left;
  }
  for (std::uint8_t i = 1; i < end; i = next[i]) ids->push_back(symbols[i]);
}

void BytePairEncoder::EncodeLong(std::string_view piece, std::vector<std::int32_t>* ids) const {
  std::vector<Symbol> symbols = LinkBytes(piece, byte_ids_);
  if (symbols.empty()) return;
  const auto rank_at = [&](std::uint32_t at) {
    const std::uint32_t next = symbols[at].next;
    return next == kEnd ? PairTable::kNoRank : ranks_.Find(symbols[at].id, symbols[next].id);
  };
  std::vector<std::uint64_t> candidates;
  candidates.reserve(symbols.size());
  for (std::uint32_t at = 0; at < symbols.size(); ++at) {
    const std::int32_t rank = rank_at(at);
    if (rank != PairTable::kNoRank) candidates.push_back(MakeCandidate(rank, at));
  }
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue(
      std::greater<>(), std::move(candidates));
  const auto consider = [&](std::uint32_t at) {
    const std::int32_t rank = at == kEnd ? PairTable::kNoRank : rank_at(at);
    if (rank != PairTable::kNoRank) queue.push(MakeCandidate(rank, at));
  };
  while (!queue.empty()) {
    const std::uint64_t lowest = queue.top();
    queue.pop();
    const auto at = static_cast<std::uint32_t>(lowest);
    Symbol& left = symbols[at];
    if (left.id == kNoId) continue;
    const std::int32_t rank = rank_at(at);
    if (MakeCandidate(rank, at) != lowest) continue;  // merged otherwise since
    Symbol& right = symbols[left.next];
    left.id = merged_[rank];
    left.next = right.next;
    right.id = kNoId;
    if (left.next != kEnd) symbols[left.next].previous = at;
    consider(left.previous);
    consider(at);
  }
  for (std::uint32_t at = 0; at != kEnd; at = symbols[at].next) ids->push_back(symbols[at].id);
}

}  // namespace thinkwire::worker::text
