#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

// Short byte strings as machine words, and hashes of them.

namespace thinkwire::worker::text {

inline constexpr std::size_t kWordBytes = sizeof(std::uint64_t);

template <class Word = std::uint64_t>
std::uint64_t LoadWord(const char* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// Of 1 to 8 bytes. Strings of the same length have the same word only if they are the same.
inline std::uint64_t ShortWord(std::string_view bytes) {
  const std::size_t size = bytes.size();
  const char* data = bytes.data();
  if (size >= 4) {
    return LoadWord<std::uint32_t>(data) | LoadWord<std::uint32_t>(data + size - 4) << 32;
  }
  return LoadWord<std::uint8_t>(data) | LoadWord<std::uint8_t>(data + size / 2) << 8 |
         LoadWord<std::uint8_t>(data + size - 1) << 16;
}

// Every bit of both reaches the highest bits, which are the ones to use.
constexpr std::uint64_t HashWords(std::uint64_t first, std::uint64_t second) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;  // 2^64 / the golden ratio
  const std::uint64_t mixed = first * kOdd;
  return (mixed ^ mixed >> 32 ^ second) * kOdd;
}

// The same of any number of bytes but none.
inline std::uint64_t HashBytes(std::string_view bytes) {
  if (bytes.size() <= kWordBytes) return HashWords(ShortWord(bytes), bytes.size());
  std::uint64_t hash = bytes.size();
  for (std::size_t at = 0; at + kWordBytes < bytes.size(); at += kWordBytes) {
    hash = HashWords(LoadWord(bytes.data() + at), hash);
  }
  return HashWords(LoadWord(bytes.data() + bytes.size() - kWordBytes), hash);
}

}  // namespace thinkwire::worker::text
