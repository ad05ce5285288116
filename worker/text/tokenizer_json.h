#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/json.h"
#include "worker/text/added_token_matcher.h"

namespace thinkwire::worker::text {

// What a Hugging Face tokenizer.json says, checked piece by piece but not yet against each other,
// and within the limits of common/input_limits.h.
//
// Known: model BPE (ignore_merges; merges as "a b" or as pairs), normalizer null, NFC or a Sequence
// of these, pre_tokenizer Split (Regex, Isolated) steps and then one ByteLevel (add_prefix_space
// and use_regex false), decoder ByteLevel, added_tokens with all their options. Whatever else would
// change the ids is refused by name: dropout, prefix and suffix of subwords, byte_fallback where
// the vocabulary lacks bytes. Passed over is what changes nothing that we ask for: the
// post_processor, which adds special tokens, and truncation and padding, which training scripts
// leave in the files that they save and which transformers switches off too.
struct TokenizerJson {
  bool nfc = false;
  std::vector<std::string> split_patterns;
  bool ignore_merges = false;
  bool byte_fallback = false;
  std::optional<std::string> unk_token;
  std::vector<std::pair<std::string, std::int32_t>> vocabulary;  // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;       // spellings, ascending rank
  std::vector<AddedToken> added_tokens;                          // in the file's order
};

// `root` is read apart from the members of model.vocab, which are `vocabulary`.
// Fails: INVALID_ARGUMENT (damaged) or UNIMPLEMENTED (not supported), naming the key.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(const nlohmann::json& root,
                                                 JsonMembers vocabulary);

// A special token that a file names, "eos_token" say.
struct NamedToken {
  std::string name;  // its key
  AddedToken token;  // special, kPlaced
};

// What we use of tokenizer_config.json and of special_tokens_map.json, which has the same keys.
struct TokenizerConfigJson {
  // bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token, then those of
  // extra_special_tokens or additional_special_tokens: as far as they are there and not null.
  std::vector<NamedToken> named;
  // Ascending ids; nullopt where there is no such key.
  std::optional<std::vector<AddedToken>> added_tokens_decoder;

  const NamedToken* Find(std::string_view name) const;  // null if absent
};

// Fails: INVALID_ARGUMENT, naming the key.
absl::StatusOr<TokenizerConfigJson> ParseTokenizerConfigJson(const nlohmann::json& root);

// The tokens of an added_tokens.json, {content: id}, ascending ids; neither special nor raw.
// Fails: INVALID_ARGUMENT, naming the content.
absl::StatusOr<std::vector<AddedToken>> ParseAddedTokensJson(const nlohmann::json& root);

}  // namespace thinkwire::worker::text
