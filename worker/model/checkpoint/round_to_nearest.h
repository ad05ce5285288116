#pragma once

#include <cstdint>
#include <span>

// Numbers made coarser, each to the nearest that there is, with a search for the scale that loses
// least of their squares. No activations are looked at. Pure.
namespace thinkwire::worker::model {

// To the nearest f16, ties to even; what is beyond the greatest becomes it. REQUIRES: no NaN.
std::uint16_t F16FromF32(float x);

// To the nearest e4m3, ties to even; what is beyond 448 becomes it. REQUIRES: no NaN.
std::uint8_t E4m3FromF32(float x);

// Four bits for each weight of a group: weight i is float(q[i] - zero) * scale.
struct Int4Scale {
  std::uint16_t scale = 0;  // f16, above 0
  std::uint8_t zero = 0;    // 0..15
};

// Settles the scale of `weights`, all finite, and writes a number of 0..15 for each to `q`.
Int4Scale RoundToInt4(std::span<const float> weights, std::uint8_t* q);

// Settles the scale, above 0, of `weights`, all finite, and writes a byte of e4m3 for each to `q`:
// weight i is float(q[i]) * scale.
float RoundToE4m3(std::span<const float> weights, std::uint8_t* q);

}  // namespace thinkwire::worker::model
