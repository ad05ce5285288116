#pragma once

#include <cstddef>
#include <cstdint>

// Which ids may be drawn.
namespace thinkwire::worker::step {

// A bit an id: bit id % 64 of word id / 64. Set: it may be drawn.
using MaskWord = std::uint64_t;

constexpr std::size_t NumMaskWords(std::int32_t num_ids) {
  return (static_cast<std::size_t>(num_ids) + 63) / 64;
}

}  // namespace thinkwire::worker::step
