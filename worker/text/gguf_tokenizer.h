#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "common/gguf.h"
#include "worker/text/tokenizer_files.h"

namespace thinkwire::worker::text {

// What the values `tokenizer.ggml.*` say of a tokenizer, as the tokenizer.json of the same model
// says it: `pre` names the split pattern, whether merges are ignored, and the normalisation, which
// llama.cpp leaves out and the published files of Qwen have (NFC).
// Tokens of type 1 are the vocabulary, of type 4 (USER_DEFINED) and 3 (CONTROL) added tokens, the
// latter special but for those that open and close turns and reasoning, which the published files
// keep plain; those of type 5 (UNUSED) fill up rows and do not exist. `padding_token_id`,
// `unknown_token_id` and `add_bos_token` are not read.
// Fails: INVALID_ARGUMENT or UNIMPLEMENTED, naming the key.
absl::StatusOr<TokenizerFiles> ParseGgufTokenizer(const GgufContent& content);

// Of a file, whose name opens every message. Fails: NOT_FOUND, too.
absl::StatusOr<TokenizerFiles> ReadGgufTokenizer(const std::filesystem::path& path);

}  // namespace thinkwire::worker::text
