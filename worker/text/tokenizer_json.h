#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/added_token_matcher.h"

namespace thinkwire::worker::text {

// What a Hugging Face tokenizer.json says, checked piece by piece but not yet against each other,
// and within the limits of common/input_limits.h.
//
// Known: model BPE (ignore_merges; merges as "a b" or as pairs), normalizer null, NFC or a Sequence
// of these, pre_tokenizer Split (Regex, Isolated) steps and then one ByteLevel (add_prefix_space
// and use_regex false), decoder ByteLevel, added_tokens with all their options. Whatever else would
// change the ids is refused by name: dropout, byte_fallback, prefix and suffix of subwords,
// truncation, padding. The post_processor is passed over: it only adds the special tokens that we
// do not ask for.
struct TokenizerJson {
  bool nfc = false;
  std::vector<std::string> split_patterns;
  bool ignore_merges = false;
  std::optional<std::string> unk_token;
  std::vector<std::pair<std::string, std::int32_t>> vocabulary;  // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;       // spellings, ascending rank
  std::vector<AddedToken> added_tokens;                          // in the file's order
};

// Fails: INVALID_ARGUMENT (damaged) or UNIMPLEMENTED (not supported), naming the key.
absl::StatusOr<TokenizerJson> ParseTokenizerJson(const nlohmann::json& root);

// What we use of tokenizer_config.json: contents of tokens, nullopt where null or absent.
struct TokenizerConfigJson {
  std::optional<std::string> bos_token;
  std::optional<std::string> eos_token;
};

// Fails: INVALID_ARGUMENT, naming the key.
absl::StatusOr<TokenizerConfigJson> ParseTokenizerConfigJson(const nlohmann::json& root);

}  // namespace thinkwire::worker::text
