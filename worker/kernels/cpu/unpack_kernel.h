#pragma once

#include <cstdint>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/packed_blocks.h"

// A row of weights becomes a row of a panel (cpu_linear_weight.h), each weight rounded once.
namespace thinkwire::worker::kernels {

template <class L>
void StoreInPanel(const L& first, const L& second, std::uint16_t*& out) {
  L::StorePanelBf16(first, second, out);
  out += kPanelRows * kPanelDepth;
}

// Sixteen weights of a block from the `i`-th on.
template <class L, int kElements>
L WeightsAt(const BlockCodes<kElements>& codes, int i) {
  const L scale = L::Set(codes.scale[i / 16]);
  return L::RoundToBf16(L::Fma(L::FromInt8(codes.q + i), scale, L::Set(codes.offset[i / 16])));
}

template <class L>
L WeightsAt(const Fp8Codes& codes, int i) {
  return L::RoundToBf16(L::Mul(L::FromE4m3(codes.code + i), L::Set(codes.scale)));
}

template <class L, class Block>
void UnpackBlocksOfRow(const std::uint8_t* row, std::int64_t depth_blocks, std::uint16_t* out) {
  typename CodesOf<Block>::type codes;
  for (std::int64_t b = 0; b < depth_blocks; b += Block::kElements / kPanelDepth) {
    Block::template Read<L>(row, codes);
    row += Block::kBytes;
    for (int i = 0; i < Block::kElements; i += kPanelDepth) {
      StoreInPanel(WeightsAt<L>(codes, i), WeightsAt<L>(codes, i + 16), out);
    }
  }
}

template <class L>
void UnpackPanelRow(Encoding encoding, const std::uint8_t* row, std::int64_t depth_blocks,
                    std::uint16_t* out) {
  if (encoding == Encoding::kBf16) {
    const auto* from = reinterpret_cast<const std::uint16_t*>(row);
    for (std::int64_t b = 0; b < depth_blocks; ++b, from += kPanelDepth) {
      StoreInPanel(L::LoadBf16(from), L::LoadBf16(from + 16), out);
    }
    return;
  }
  WithBlockType<L>(
      encoding, [&](auto block) { UnpackBlocksOfRow<L, decltype(block)>(row, depth_blocks, out); });
}

}  // namespace thinkwire::worker::kernels
