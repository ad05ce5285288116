#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// A vocabulary small enough to think in: id 0..255 is that byte, then come `kWords`, then the
// control tokens of the R1 family.
inline constexpr std::int32_t kFirstWord = 256;
inline constexpr std::string_view kWords[] = {"\n\n", " the", "stop", "sto", "\xE4\xBD\xA0\xE5"};
inline constexpr std::int32_t kBos = 261;
inline constexpr std::int32_t kEos = 262;
inline constexpr std::int32_t kUser = 263;
inline constexpr std::int32_t kAssistant = 264;
inline constexpr std::int32_t kThink = 265;
inline constexpr std::int32_t kThinkEnd = 266;
inline constexpr std::int32_t kVocabulary = 267;

// The text of its tokenizer.json.
std::string ByteTokenizerJson();

// Written to a folder of the test's own and loaded from there.
std::unique_ptr<text::Tokenizer> MakeByteTokenizer();

}  // namespace thinkwire::worker::serve
