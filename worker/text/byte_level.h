#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace thinkwire::worker::text {

// GPT-2's spelling of bytes as printable characters: bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF are
// spelt by the code point of the same value, the other 68, ascending, by U+0100, U+0101, ….

// The bytes that `spelling` (valid UTF-8) stands for; nullopt if a character of it spells no byte.
std::optional<std::string> BytesFromSpelling(std::string_view spelling);

// The inverse, for any bytes.
std::string SpellBytes(std::string_view bytes);

}  // namespace thinkwire::worker::text
