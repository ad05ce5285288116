#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

// Hashes that tell models apart and seed noise: fixed for ever, not secure against an adversary.
namespace thinkwire::worker::model {

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters counters.
constexpr std::uint64_t Mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

constexpr std::uint64_t HashWord(std::uint64_t seed, std::uint64_t word) {
  return Mix(std::rotl(seed, 17) ^ Mix(word));
}

constexpr std::uint64_t HashBytes(std::uint64_t seed, std::string_view bytes) {
  std::uint64_t hash = HashWord(seed, bytes.size());
  for (const char c : bytes) hash = HashWord(hash, static_cast<unsigned char>(c));
  return hash;
}

}  // namespace thinkwire::worker::model
