#include "worker/model/beat_encoding.h"

#include <limits>

namespace thinkwire::worker::model {
namespace {

constexpr std::size_t kNumberBytes = sizeof(std::uint64_t);

}  // namespace

std::string EncodeNumber(std::uint64_t number) {
  std::string bytes;
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(number >> (8 * i))));
  }
  return bytes;
}

std::optional<std::uint64_t> DecodeNumber(std::string_view bytes) {
  if (bytes.size() != kNumberBytes) return std::nullopt;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < kNumberBytes; ++i) {
    number |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return number;
}

std::string EncodeBeats(const std::vector<step::RankBeat>& beats) {
  std::string bytes;
  for (const step::RankBeat& beat : beats) {
    bytes += EncodeNumber(beat.step);
    bytes += EncodeNumber(static_cast<std::uint64_t>(beat.layer));
  }
  return bytes;
}

std::optional<std::vector<step::RankBeat>> DecodeBeats(std::string_view bytes, std::size_t ranks) {
  if (bytes.size() != ranks * 2 * kNumberBytes) return std::nullopt;
  std::vector<step::RankBeat> beats(ranks);
  for (step::RankBeat& beat : beats) {
    const std::uint64_t layer = *DecodeNumber(bytes.substr(kNumberBytes, kNumberBytes));
    if (layer > static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max())) {
      return std::nullopt;
    }
    beat = {.step = *DecodeNumber(bytes.substr(0, kNumberBytes)),
            .layer = static_cast<std::int32_t>(layer)};
    bytes.remove_prefix(2 * kNumberBytes);
  }
  return beats;
}

}  // namespace thinkwire::worker::model
