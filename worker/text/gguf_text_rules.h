#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "worker/text/tokenizer_json.h"

// What the values `tokenizer.ggml.*` of a GGUF file mean, for who reads and who writes them.
namespace thinkwire::worker::text {

// Types of tokens, as llama.cpp numbers them.
enum class GgufTokenType : std::int32_t {
  kNormal = 1,
  kControl = 3,      // an added token that is special, or looks so
  kUserDefined = 4,  // another added token
  kUnused = 5,       // fills up rows
};

// What a `tokenizer.ggml.pre` stands for.
struct GgufPreTokenizer {
  std::string_view name;
  bool nfc;
  bool ignore_merges;
  std::span<const std::string_view> patterns;
};

// Those that are known; where several stand for the same, the distills' own comes first.
std::span<const GgufPreTokenizer> GgufPreTokenizers();

// The one that stands for what a tokenizer.json says; null: none does.
const GgufPreTokenizer* GgufPreTokenizerOf(const TokenizerJson& json);

// Whether an added token is published as one that is not special though GGUF files have it as
// CONTROL: what opens and closes turns, reasoning and tool calls.
bool IsPlainInPublishedFiles(std::string_view token);

}  // namespace thinkwire::worker::text
