#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/strings.h"
#include "worker/text/added_token_matcher.h"
#include "worker/text/byte_pair_encoder.h"
#include "worker/text/piece_cache.h"
#include "worker/text/piece_table.h"
#include "worker/text/splitter.h"
#include "worker/text/tokenizer.h"
#include "worker/text/tokenizer_files.h"
#include "worker/text/tokenizer_json.h"
#include "worker/text/whole_tokens.h"

namespace thinkwire::worker::text {

template <class Value>
using StringMap = absl::flat_hash_map<std::string, Value, StringHash, std::equal_to<>>;
using IdsBySpelling =
    absl::flat_hash_map<std::string_view, std::int32_t, StringHash, std::equal_to<>>;

// What a Tokenizer consists of, and how it is put together from a parsed file.
struct Tokenizer::Parts {
  struct Token {
    std::string bytes;
    bool defined = false;
    bool added = false;
    bool special = false;
  };

  // Fails: as Tokenizer::Load, naming the key.
  absl::Status Build(const TokenizerJson& json);

  void FindControlIds(const TokenizerFiles& files);
  void CountNeededIds();  // REQUIRES: all the rest is built

  bool IsDefined(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < tokens.size() && tokens[id].defined;
  }
  std::optional<std::int32_t> AddedId(std::string_view content) const;

  // Appends the ids of `pieces`, which stand in `text` one after another. In a message as if the
  // model had no entries and merges that give an added token.
  void EncodePieces(std::span<const std::string_view> pieces, std::string_view text, TextKind kind,
                    PieceCache& cache, std::vector<std::int32_t>* ids) const;

  bool nfc = false;
  std::optional<Splitter> splitter;
  AddedTokenMatcher raw_matcher;
  AddedTokenMatcher normalized_matcher;
  BytePairEncoder encoder;
  std::optional<BytePairEncoder> message_encoder;  // only where `encoder` can give an added token
  std::vector<Token> tokens;                       // by id
  std::optional<std::vector<bool>> whole;          // by id, where FindWholeTokens can tell it
  PieceTable pieces;                               // the vocabulary, as far as it spells bytes
  StringMap<std::int32_t> added;                   // by content
  int num_missing_bytes = 0;
  std::int32_t num_needed_ids = 0;
  ControlIds control_ids;
  std::vector<std::string> warnings;

  mutable std::optional<PieceCachePool> caches;  // synchronises itself

 private:
  // The same of one piece that the cache's table of short ones does not have.
  void EncodePiece(std::string_view piece, const PieceCache::Key& key, TextKind kind,
                   PieceCache& cache, std::vector<std::int32_t>* ids) const;
  std::optional<std::int32_t> DirectId(std::string_view piece, TextKind kind) const;

  bool DefineToken(std::int32_t id, std::string bytes);  // false: another has the id
  absl::Status BuildVocabulary(const TokenizerJson& json, IdsBySpelling* ids);
  absl::Status BuildAddedTokens(const TokenizerJson& json, const IdsBySpelling& ids);
  absl::Status BuildMerges(const TokenizerJson& json, const IdsBySpelling& ids);
  void BuildMessageEncoder(std::span<const TokenMerge> merges);
  absl::Status CheckBytes(const TokenizerJson& json);
  void BuildPieces(const TokenizerJson& json);
  bool IsWhole(std::int32_t id, std::string_view bytes) const;
};

}  // namespace thinkwire::worker::text
