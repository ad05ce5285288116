#include <array>

#include "worker/text/piece_batch.h"
#include "worker/text/tokenizer_parts.h"

namespace thinkwire::worker::text {

// All keys first, so that the memory of one piece is on its way while the others' are made.
void Tokenizer::Parts::EncodePieces(std::span<const std::string_view> batch, std::string_view text,
                                    TextKind kind, PieceCache& cache,
                                    std::vector<std::int32_t>* ids) const {
  std::array<PieceCache::Key, PieceBatch::kMaxPieces> keys;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    keys[i] = cache.KeyOf(batch[i], text.data() + text.size(), kind);
    cache.Prefetch(keys[i]);
  }
  std::array<std::int32_t, PieceBatch::kMaxPieces * PieceCache::kMaxShortIds> known;
  std::size_t num_known = 0;
  const auto append_known = [&] {
    ids->insert(ids->end(), known.begin(), known.begin() + num_known);
    num_known = 0;
  };
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::size_t num_ids = cache.Find(keys[i], &known[num_known]);
    num_known += num_ids;
    if (num_ids > 0) continue;
    append_known();
    EncodePiece(batch[i], keys[i], kind, cache, ids);
  }
  append_known();
}

void Tokenizer::Parts::EncodePiece(std::string_view piece, const PieceCache::Key& key,
                                   TextKind kind, PieceCache& cache,
                                   std::vector<std::int32_t>* ids) const {
  const bool is_short = piece.size() <= PieceCache::kMaxShortBytes;
  if (!is_short && cache.AppendLong(piece, kind, ids)) return;
  const std::size_t num_before = ids->size();
  if (const std::optional<std::int32_t> id = DirectId(piece, kind); id.has_value()) {
    ids->push_back(*id);
  } else {
    if (is_short && cache.AppendLong(piece, kind, ids)) return;
    const bool is_message = kind == TextKind::kMessage && message_encoder.has_value();
    (is_message ? *message_encoder : encoder).Encode(piece, ids);
  }
  cache.Keep(piece, key, kind, std::span(*ids).subspan(num_before));
}

std::optional<std::int32_t> Tokenizer::Parts::DirectId(std::string_view piece,
                                                       TextKind kind) const {
  const PieceTable::Entry* entry = pieces.Find(piece);
  if (entry == nullptr) return std::nullopt;
  const bool is_direct = kind == TextKind::kMessage ? entry->direct_in_message : entry->direct;
  if (!is_direct) return std::nullopt;
  return static_cast<std::int32_t>(entry->id);
}

}  // namespace thinkwire::worker::text
