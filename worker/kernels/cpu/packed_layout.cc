#include "worker/kernels/cpu/packed_layout.h"

#include <algorithm>
#include <cstring>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/packed_blocks.h"

namespace thinkwire::worker::kernels {
namespace {

struct Baseline {};  // the instruction set that every machine has

// The lowest kBits of kColumns numbers, sixteen words: those of each even sixteen in the lower
// half.
template <int kBits, int kColumns>
void PackWords(const std::uint8_t* q, std::uint8_t* out) {
  static_assert(kBits * kColumns == 512);
  constexpr std::uint32_t kMask = (1U << kBits) - 1U;
  for (int j = 0; j < 16; ++j) {
    std::uint32_t word = 0;
    for (int k = 0; k < kColumns / 16; ++k) {
      word |= (q[16 * k + j] & kMask) << (kBits * (k / 2) + 16 * (k % 2));
    }
    std::memcpy(out + 4 * j, &word, sizeof(word));
  }
}

// Blocks of 256 weights, one a row.
void LayOutQ4K(const std::uint8_t* block, int row, std::uint8_t* chunk) {
  using Layout = Q4KChunkLayout;
  std::uint8_t q[kChunkColumns];
  ReadNibblesOf64<Baseline>(block + 16, reinterpret_cast<std::int8_t*>(q));
  PackWords<4, 128>(q, chunk + row * Layout::kRowBytes);
  PackWords<4, 128>(q + 128, chunk + row * Layout::kRowBytes + 64);
  std::uint8_t scales[8];
  std::uint8_t mins[8];
  ReadSixBits<Baseline>(block + 4, scales, mins);
  for (int g = 0; g < 8; ++g) {
    chunk[Layout::kScales + g * kPanelRows + row] = scales[g];
    chunk[Layout::kMins + g * kPanelRows + row] = mins[g];
  }
  std::memcpy(chunk + Layout::kD + 2 * row, block, 2);
  std::memcpy(chunk + Layout::kDmin + 2 * row, block + 2, 2);
}

void LayOutQ6K(const std::uint8_t* block, int row, std::uint8_t* chunk) {
  using Layout = Q6KChunkLayout;
  BlockCodes<kChunkColumns> codes;
  Q6KBlock::Read<Baseline>(block, codes);
  std::uint8_t q[kChunkColumns];
  std::uint8_t upper[kChunkColumns];
  for (int i = 0; i < kChunkColumns; ++i) {
    q[i] = static_cast<std::uint8_t>(codes.q[i] + 32);
    upper[i] = q[i] >> 4;
  }
  std::uint8_t* const to = chunk + row * Layout::kRowBytes;
  PackWords<4, 128>(q, to);
  PackWords<4, 128>(q + 128, to + 64);
  PackWords<2, 256>(upper, to + Layout::kUpper);
  for (int g = 0; g < 16; ++g) chunk[Layout::kScales + g * kPanelRows + row] = block[192 + g];
  std::memcpy(chunk + Layout::kD + 2 * row, block + 208, 2);
}

void LayOutQ8_0(const std::uint8_t* blocks, int row, int cols, std::uint8_t* chunk) {
  std::uint8_t* const scales = chunk + kPanelRows * cols;
  for (int b = 0; b < cols / Q8_0Block::kElements; ++b, blocks += Q8_0Block::kBytes) {
    std::memcpy(scales + (b * kPanelRows + row) * 2, blocks, 2);
    std::memcpy(chunk + row * cols + b * Q8_0Block::kElements, blocks + 2, Q8_0Block::kElements);
  }
}

void LayOutInt4(const std::uint8_t* blocks, int row, int cols, std::uint8_t* chunk) {
  std::uint8_t* const words = chunk + kPanelRows * cols / 2;
  std::uint8_t q[kInt4Columns];
  for (int b = 0; b < cols / kInt4Columns; ++b, blocks += kInt4PackedBytes) {
    for (int i = 0; i < kInt4Columns; ++i) q[i] = blocks[i / 2] >> (i % 2 * 4) & 0xF;
    PackWords<4, kInt4Columns>(q, chunk + row * cols / 2 + b * kInt4Columns / 2);
    std::memcpy(words + (b * kPanelRows + row) * 4, blocks + kInt4Columns / 2, 4);
  }
}

void LayOutRow(Encoding encoding, const std::uint8_t* blocks, int row, int cols,
               std::uint8_t* chunk) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return LayOutQ8_0(blocks, row, cols, chunk);
    case Encoding::kQ4K:
      return LayOutQ4K(blocks, row, chunk);
    case Encoding::kQ6K:
      return LayOutQ6K(blocks, row, chunk);
    case Encoding::kInt4:
      return LayOutInt4(blocks, row, cols, chunk);
    default: {
      const auto bytes = static_cast<std::size_t>(BytesOf(encoding, cols));
      std::memcpy(chunk + static_cast<std::size_t>(row) * bytes, blocks, bytes);
    }
  }
}

}  // namespace

bool IsReadInPlace(Encoding encoding) {
  return encoding == Encoding::kQ8_0 || encoding == Encoding::kQ4K || encoding == Encoding::kQ6K ||
         encoding == Encoding::kInt4;
}

std::int64_t PackedPanelBytes(Encoding encoding, std::int64_t cols) {
  if (encoding == Encoding::kQ4K) return cols / kChunkColumns * Q4KChunkLayout::kBytes;
  return kPanelRows * BytesOf(encoding, cols);
}

void LayOutPackedPanel(Encoding encoding, const std::uint8_t* const* rows, std::int64_t cols,
                       std::uint8_t* panel) {
  std::memset(panel, 0, static_cast<std::size_t>(PackedPanelBytes(encoding, cols)));
  for (std::int64_t first = 0; first < cols; first += kChunkColumns) {
    const int n = static_cast<int>(std::min<std::int64_t>(kChunkColumns, cols - first));
    for (int r = 0; r < kPanelRows; ++r) {
      if (rows[r] != nullptr) LayOutRow(encoding, rows[r] + BytesOf(encoding, first), r, n, panel);
    }
    panel += PackedPanelBytes(encoding, n);
  }
}

}  // namespace thinkwire::worker::kernels
