#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/text/tokenizer_json.h"

namespace thinkwire::worker::text {

// What the files of a folder say of its tokenizer, put together as transformers' AutoTokenizer
// does.
struct TokenizerFiles {
  TokenizerJson json;                    // with the tokens that the other files add
  std::optional<std::string> bos_token;  // contents, as far as a file names them
  std::optional<std::string> eos_token;
  // A sentence each: what was taken from elsewhere than tokenizer.json, what is not obeyed.
  std::vector<std::string> warnings;
};

// Reads `model_dir`/tokenizer.json and, as far as they are there:
// 1. tokenizer_config.json. Where it has an added_tokens_decoder, that list decides about the
//    options of a token before tokenizer.json does, and neither of the next two files is read.
// 2. special_tokens_map.json, whose named tokens go before those of tokenizer_config.json.
// 3. added_tokens.json, for tokens that tokenizer.json lacks.
// Tokens that tokenizer.json lacks follow its own: those of the list by their ids, then those that
// are only named (pad_token and the like), which then are special. A named token that is the
// vocabulary's only entry for a byte ("!") stays text.
// Fails: NOT_FOUND without tokenizer.json; INVALID_ARGUMENT or UNIMPLEMENTED, naming file and key;
// also for a bos_token or eos_token that no other list and no vocabulary has.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::filesystem::path& model_dir);

}  // namespace thinkwire::worker::text
