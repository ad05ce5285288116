#pragma once

#include <cstdint>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/unpack_kernel.h"
#include "worker/kernels/packed_blocks.h"

// out[t, r] = dot(x[t], row r) for eight packed rows of one encoding and few tokens: the canonical
// dot product of row_kernels_impl.h, as LinearPanel has it over the same rows unpacked, but a
// weight goes from its block into the sum without being written anywhere. One token makes a stream
// over the packed rows.
namespace thinkwire::worker::kernels {

// Adds sixteen columns to the sums of some tokens.
template <class L, int kTokens>
void AddColumns(const L& weights, const float* x, std::int64_t x_stride, L* sums) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    sums[t] = L::Fma(weights, L::Load(x + t * x_stride), sums[t]);
  }
}

// A block, weight by weight.
template <class L, class Block, int kTokens>
struct BlockProduct {
  static void Add(const std::uint8_t* block, const float* x, std::int64_t x_stride, L* sums) {
    typename CodesOf<Block>::type codes;
    Block::template Read<L>(block, codes);
#pragma GCC unroll 16
    for (int i = 0; i < Block::kElements; i += 16) {
      AddColumns<L, kTokens>(WeightsAt<L>(codes, i), x + i, x_stride, sums);
    }
  }
};

// Q4_K: the sixteen weights that a group of 32 can have are made once, then looked up by nibble.
template <class L, int kTokens>
struct BlockProduct<L, Q4KBlock, kTokens> {
  static L Table(const float* scale, const float* offset) {
    static constexpr float kSteps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return L::RoundToBf16(L::Fma(L::Load(kSteps), L::Set(*scale), L::Set(*offset)));
  }
  static void Add(const std::uint8_t* block, const float* x, std::int64_t x_stride, L* sums) {
    BlockCodes<Q4KBlock::kElements> codes;
    ReadGroupsOf32<L>(block, codes);
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair, x += 64) {
      const std::uint8_t* const nibbles = block + 16 + 32 * pair;
      const typename L::Indices first = L::ReadIndices(nibbles);
      const typename L::Indices second = L::ReadIndices(nibbles + 16);
      const L low = Table(codes.scale + 4 * pair, codes.offset + 4 * pair);
      AddColumns<L, kTokens>(L::LookUp(low, first), x, x_stride, sums);
      AddColumns<L, kTokens>(L::LookUp(low, second), x + 16, x_stride, sums);
      const L high = Table(codes.scale + 4 * pair + 2, codes.offset + 4 * pair + 2);
      AddColumns<L, kTokens>(L::LookUp(high, L::HighNibbles(first)), x + 32, x_stride, sums);
      AddColumns<L, kTokens>(L::LookUp(high, L::HighNibbles(second)), x + 48, x_stride, sums);
    }
  }
};

template <class L, class Block, int kTokens>
void PackedTile(const PackedPanel& panel, const float* x, std::int64_t x_stride,
                std::int64_t depth_blocks, float* out) {
  L acc[kPanelRows][kTokens];
  for (int r = 0; r < kPanelRows; ++r) {
    for (int t = 0; t < kTokens; ++t) acc[r][t] = L::Set(0.0F);
  }
  const std::int64_t blocks = depth_blocks * kPanelDepth / Block::kElements;
  for (std::int64_t b = 0; b < blocks; ++b, x += Block::kElements) {
    for (int r = 0; r < kPanelRows; ++r) {
      L sums[kTokens];
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) sums[t] = acc[r][t];
      BlockProduct<L, Block, kTokens>::Add(panel.rows[r] + b * Block::kBytes, x, x_stride, sums);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) acc[r][t] = sums[t];
    }
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kPanelRows; r += 4) {
      const L rows[4] = {acc[r][t], acc[r + 1][t], acc[r + 2][t], acc[r + 3][t]};
      L::Sum4(rows, out + t * kPanelRows + r);
    }
  }
}

template <class L>
void MultiplyPacked(const PackedPanel& panel, const float* x, std::int64_t x_stride, int tokens,
                    std::int64_t depth_blocks, float* out) {
  WithBlockType<L>(panel.encoding, [&](auto block) {
    using Block = decltype(block);
    if (tokens == 1) PackedTile<L, Block, 1>(panel, x, x_stride, depth_blocks, out);
    if (tokens == 2) PackedTile<L, Block, 2>(panel, x, x_stride, depth_blocks, out);
    if (tokens == 3) PackedTile<L, Block, 3>(panel, x, x_stride, depth_blocks, out);
  });
}

}  // namespace thinkwire::worker::kernels
