#pragma once

#include <cstdint>

#include "worker/kernels/block_codes.h"

// llama.cpp's formats of four bits that stand for sixteen uneven steps (ggml's kvalues_iq4nl).
//   IQ4_NL  32 weights: d, 16 B of nibbles                            w = d * step[q]
//   IQ4_XS  256 weights: d, 2 B and 4 B of sc, eight times 16 B       w = d * (sc - 32) * step[q]
namespace thinkwire::worker::kernels {

template <class Isa>
HOST_DEVICE void ReadSteps(const std::uint8_t* nibbles, std::int8_t* q) {
  constexpr std::int8_t kSteps[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
  ReadNibbles<Isa>(nibbles, q);
  for (int i = 0; i < 32; ++i) q[i] = kSteps[q[i]];
}

struct Iq4NlBlock {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 18;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    out.scale[0] = out.scale[1] = FloatFromHalf<Isa>(block);
    out.offset[0] = out.offset[1] = kNoOffset;
    ReadSteps<Isa>(block + 2, out.q);
  }
};

struct Iq4XsBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 136;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    const float d = FloatFromHalf<Isa>(block);
    const int high_bits = LoadAs<Isa, std::uint16_t>(block + 2);
    for (int g = 0; g < 8; ++g) {
      const int low = block[4 + g / 2] >> (g % 2 * 4) & 0xF;
      const int high = high_bits >> (2 * g) & 3;
      out.scale[2 * g] = out.scale[2 * g + 1] = d * static_cast<float>((low | high << 4) - 32);
      out.offset[2 * g] = out.offset[2 * g + 1] = kNoOffset;
      ReadSteps<Isa>(block + 8 + 16 * g, out.q + 32 * g);
    }
  }
};

}  // namespace thinkwire::worker::kernels
