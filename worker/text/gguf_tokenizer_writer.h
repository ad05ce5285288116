#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "absl/status/status.h"
#include "common/gguf_header.h"

namespace thinkwire::worker::text {

// The model's part in its tokenizer's values.
struct GgufTokenizerRows {
  std::int64_t num_rows = 0;                   // of the embedding
  std::span<const std::int32_t> end_ids = {};  // that end an output
};

// Adds what a folder's files say of its tokenizer, as ReadTokenizerFiles puts them together, and
// its chat template: the other direction of ParseGgufTokenizer, with the values that llama.cpp's
// converter writes. Rows without a token are filled by tokens of type UNUSED. An added token is
// CONTROL if it is special, or opens or closes turns, so that llama.cpp finds no turn in a text of
// a user.
// Fails: as ReadTokenizerFiles; INVALID_ARGUMENT for what a GGUF file cannot say: another split
// pattern than those known, tokens that take white space with them or stand alone, ids beyond the
// rows, more than two ends.
absl::Status AddGgufTokenizer(const std::filesystem::path& folder, const GgufTokenizerRows& rows,
                              GgufHeader& header);

}  // namespace thinkwire::worker::text
