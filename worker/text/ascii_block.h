#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace thinkwire::worker::text {

inline constexpr std::size_t kBlockBytes = 64;

// What 64 bytes are, as far as they are ASCII: bit i of each set speaks of byte i. Letters, numbers
// and white space are those of Unicode, and a byte that is ASCII and none of these is in no set.
struct AsciiBlock {
  std::uint64_t letters = 0;
  std::uint64_t numbers = 0;
  std::uint64_t spaces = 0;       // U+0020
  std::uint64_t white = 0;        // space, \t, \n, \v, \f, \r
  std::uint64_t line_breaks = 0;  // \n, \r
  std::uint64_t apostrophes = 0;
  std::uint64_t not_ascii = 0;
};

// REQUIRES: kBlockBytes bytes can be read. The definition, for processors without SSE2.
inline AsciiBlock ReadAsciiBlockBytewise(const char* bytes) {
  AsciiBlock block;
  for (std::size_t i = 0; i < kBlockBytes; ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    const auto add_if = [i](bool is_member, std::uint64_t* set) {
      *set |= std::uint64_t{is_member} << i;
    };
    add_if((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z', &block.letters);
    add_if(byte >= '0' && byte <= '9', &block.numbers);
    add_if(byte == ' ', &block.spaces);
    add_if(byte == ' ' || (byte >= '\t' && byte <= '\r'), &block.white);
    add_if(byte == '\n' || byte == '\r', &block.line_breaks);
    add_if(byte == '\'', &block.apostrophes);
    add_if(byte >= 0x80, &block.not_ascii);
  }
  return block;
}

#ifdef __SSE2__

// 16 bytes to each step.
inline AsciiBlock ReadAsciiBlock(const char* bytes) {
  AsciiBlock block;
  for (std::size_t i = 0; i < kBlockBytes; i += sizeof(__m128i)) {
    const __m128i part = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + i));
    const auto add = [i](__m128i members, std::uint64_t* set) {
      *set |= static_cast<std::uint64_t>(_mm_movemask_epi8(members)) << i;
    };
    const auto are = [](__m128i values, char value) {
      return _mm_cmpeq_epi8(values, _mm_set1_epi8(value));
    };
    const auto are_between = [](__m128i values, char first, char last) {
      const __m128i offsets = _mm_sub_epi8(values, _mm_set1_epi8(first));
      return _mm_cmpeq_epi8(_mm_min_epu8(offsets, _mm_set1_epi8(static_cast<char>(last - first))),
                            offsets);
    };
    const __m128i spaces = are(part, ' ');
    add(are_between(_mm_or_si128(part, _mm_set1_epi8(0x20)), 'a', 'z'), &block.letters);
    add(are_between(part, '0', '9'), &block.numbers);
    add(spaces, &block.spaces);
    add(_mm_or_si128(spaces, are_between(part, '\t', '\r')), &block.white);
    add(_mm_or_si128(are(part, '\n'), are(part, '\r')), &block.line_breaks);
    add(are(part, '\''), &block.apostrophes);
    add(part, &block.not_ascii);
  }
  return block;
}

#else

inline AsciiBlock ReadAsciiBlock(const char* bytes) { return ReadAsciiBlockBytewise(bytes); }

#endif

}  // namespace thinkwire::worker::text
