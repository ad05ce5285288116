#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace thinkwire {

// UTF-8 as Unicode defines it: no overlong forms, no surrogates, nothing above U+10FFFF.

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Whether all of `bytes` are whole characters.
bool IsValidUtf8(std::string_view bytes);

// How many bytes at the begin are ASCII; many times faster than decoding them.
std::size_t NumAsciiBytesAtBegin(std::string_view bytes);

// What the first bytes of a non-empty string are.
struct Utf8Step {
  enum class Kind {
    kCharacter,   // a whole character of `length` bytes
    kInvalid,     // `length` bytes that no character begins with: one U+FFFD stands for them
    kIncomplete,  // all `length` bytes (1 to 3) begin a character that needs more
  };
  Kind kind;
  std::size_t length;
  char32_t code_point;  // of kCharacter, else U+FFFD
};

// REQUIRES: `bytes` is not empty. Invalid input is cut into maximal subparts (Unicode chapter 3.9,
// "U+FFFD substitution of maximal subparts"), as Rust and Python do when they decode lossily.
Utf8Step DecodeUtf8(std::string_view bytes);

void AppendUtf8(char32_t code_point, std::string* out);

// `bytes` with every maximal invalid subpart as U+FFFD; an incomplete end counts as one subpart.
std::string ReplaceInvalidUtf8(std::string_view bytes);

// `text` for people who need not see all of it: its first `max_bytes` at most, never ending inside
// a code point, with "..." where that is not all. Valid UTF-8 whatever `text` is. Texts from
// outside go through here before they come back in an error, a reason, metadata or a log.
std::string CutText(std::string_view text, std::size_t max_bytes);

}  // namespace thinkwire
