#pragma once

#include <cstdint>

#include "worker/kernels/cpu/packed_kernel.h"
#include "worker/kernels/cpu/packed_layout.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/packed_blocks.h"

// A packed panel (packed_layout.h) becomes one of bf16 (cpu_linear_weight.h), each weight rounded
// once.
namespace thinkwire::worker::kernels {

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
void UnpackBlocksOfRow(const std::uint8_t* row, int cols, std::uint16_t* out) {
  typename CodesOf<Block>::type codes;
  for (int c = 0; c < cols; c += Block::kElements, row += Block::kBytes) {
    Block::template Read<L>(row, codes);
    for (int i = 0; i < Block::kElements; i += kPanelDepth, out += kPanelRows * kPanelDepth) {
      L::StorePanelBf16(WeightsAt<L>(codes, i), WeightsAt<L>(codes, i + 16), out);
    }
  }
}

// Rows of blocks as files have them.
template <class L, class Block>
void UnpackBlocks(const std::uint8_t* panel, std::int64_t depth, std::uint16_t* out) {
  for (std::int64_t first = 0; first < depth; first += kChunkColumns) {
    const std::int64_t left = depth - first;
    const int cols = left < kChunkColumns ? static_cast<int>(left) : kChunkColumns;
    for (int r = 0; r < kPanelRows; ++r, panel += cols / Block::kElements * Block::kBytes) {
      UnpackBlocksOfRow<L, Block>(panel, cols, out + r * kPanelDepth);
    }
    out += kPanelRows * cols;
  }
}

template <class L, class Chunk>
void UnpackChunks(const std::uint8_t* panel, std::int64_t depth, std::uint16_t* out) {
  for (std::int64_t first = 0; first < depth; first += kChunkColumns) {
    const std::int64_t left = depth - first;
    const int cols = left < kChunkColumns ? static_cast<int>(left) : kChunkColumns;
    const Chunk chunk(panel, cols);
    panel += Chunk::Bytes(cols);
    for (int c = 0; c < cols; c += kPanelDepth) {
#pragma GCC unroll 8
      for (int r = 0; r < kPanelRows; ++r, out += kPanelDepth) chunk.Unpack(r, c, out);
    }
  }
}

template <class L>
void UnpackPanel(Encoding encoding, const std::uint8_t* panel, std::int64_t depth_blocks,
                 std::uint16_t* out) {
  const std::int64_t depth = depth_blocks * kPanelDepth;
  const bool is_in_chunks = WithChunkType<L>(
      encoding, [&]<class Chunk>(const Chunk*) { UnpackChunks<L, Chunk>(panel, depth, out); });
  if (is_in_chunks) return;
  WithBlockType<L>(encoding,
                   [&](auto block) { UnpackBlocks<L, decltype(block)>(panel, depth, out); });
}

}  // namespace thinkwire::worker::kernels
