#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/block_codes.h"
#include "worker/kernels/cpu/packed_layout.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/weights.h"

// out[t, r] = dot(x[t], row r) for a packed panel (packed_layout.h) and few tokens: the canonical
// dot product of row_kernels_impl.h, as LinearPanel has it over the same panel unpacked, but a
// weight goes from its block into the sums without being written anywhere. One token makes a stream
// over the packed panel.
//
// The type of a chunk takes the scales of its eight rows apart when it is made; Read then gives 32
// weights of a row, Unpack stores them as a panel has them. What Read costs for sixteen weights, in
// vector operations of AVX-512 with BF16 (without) beside a multiply-add for each token: Q8_0 4.5
// (8), Q6_K 5.5 (9), Q4_K 3 (5). These formats have no weights that are subnormal in bf16: all are
// multiples of 2^-24.
namespace thinkwire::worker::kernels {

template <class L>
class Q8_0Chunk {
 public:
  static std::int64_t Bytes(int cols) { return std::int64_t{34} * kPanelRows * (cols / 32); }
  Q8_0Chunk(const std::uint8_t* chunk, int cols)
      : q_(reinterpret_cast<const std::int8_t*>(chunk)), cols_(cols) {
    const std::uint8_t* const scales = chunk + kPanelRows * cols;
    for (int b = 0; b < cols / 32; ++b) {
      // Twice eight; the next overwrites the second. Part of a register is not forwarded to loads.
      L::EightHalves(scales + 2 * kPanelRows * b).Store(scale_ + kPanelRows * b);
    }
  }
  void Read(int row, int col, L* first, L* second) const {
    ReadExact(row, col, first, second);
    L::RoundNormalToBf16(first, second);
  }
  void Unpack(int row, int col, std::uint16_t* out) const {
    L first;
    L second;
    ReadExact(row, col, &first, &second);
    L::StoreRoundedInPanel(first, second, out);
  }

 private:
  void ReadExact(int row, int col, L* first, L* second) const {
    const std::int8_t* const q = q_ + row * cols_ + col;
    const L scale = L::Set(scale_[col / 32 * kPanelRows + row]);
    *first = L::Mul(L::FromInt8(q), scale);
    *second = L::Mul(L::FromInt8(q + 16), scale);
  }

  const std::int8_t* q_;
  int cols_;
  alignas(64) float scale_[(kChunkColumns / 32 + 1) * kPanelRows];
};

// The sixteen weights that a group of 32 can have are made once, then looked up by nibble.
template <class L>
class Q4KChunk {
 public:
  static std::int64_t Bytes(int) { return Layout::kBytes; }
  Q4KChunk(const std::uint8_t* chunk, int) : nibbles_(chunk) {
    const L d = L::EightHalves(chunk + Layout::kD);
    const L minus_dmin = L::Sub(L::Set(0.0F), L::EightHalves(chunk + Layout::kDmin));
    for (int i = 0; i < 64; i += 16) {
      L::Mul(L::FromUint8(chunk + Layout::kScales + i), d).Store(scale_ + i);
      L::Mul(L::FromUint8(chunk + Layout::kMins + i), minus_dmin).Store(offset_ + i);
    }
  }
  void Read(int row, int col, L* first, L* second) const {
    L::LookUp(TableOf(row, col), WordsOf(row, col), col % 128 / 8, first, second);
  }
  void Unpack(int row, int col, std::uint16_t* out) const {
    L::LookUpInPanel(TableOf(row, col), WordsOf(row, col), col % 128 / 8, out);
  }

 private:
  using Layout = Q4KChunkLayout;

  auto TableOf(int row, int col) const {
    static constexpr float kSteps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const int group = col / 32 * kPanelRows + row;
    return L::MakeTable(L::Fma(L::Load(kSteps), L::Set(scale_[group]), L::Set(offset_[group])));
  }
  auto WordsOf(int row, int col) const {
    return L::LoadWords(nibbles_ + row * Layout::kRowBytes + col / 128 * 64);
  }

  const std::uint8_t* nibbles_;
  alignas(64) float scale_[64];
  alignas(64) float offset_[64];
};

// The sixteen weights of each group of 128 are made with the chunk. A scale may be so small that
// they are subnormal in bf16.
template <class L>
class Int4Chunk {
 public:
  static std::int64_t Bytes(int cols) {
    return std::int64_t{kInt4PackedBytes} * kPanelRows * (cols / kInt4Columns);
  }
  Int4Chunk(const std::uint8_t* chunk, int cols) : nibbles_(chunk), row_bytes_(cols / 2) {
    static constexpr float kSteps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const std::uint8_t* const words = chunk + kPanelRows * row_bytes_;
    for (int i = 0; i < cols / kInt4Columns * kPanelRows; ++i) {
      const auto word = LoadAs<L, std::uint32_t>(words + 4 * i);
      const auto scale = std::bit_cast<float>(word & kInt4ScaleBits);
      const float offset = -static_cast<float>(word & kInt4ZeroBits) * scale;  // exact
      tables_[i] = L::MakeExactTable(L::Fma(L::Load(kSteps), L::Set(scale), L::Set(offset)));
    }
  }
  void Read(int row, int col, L* first, L* second) const {
    L::LookUp(TableOf(row, col), WordsOf(row, col), col % kInt4Columns / 8, first, second);
  }
  void Unpack(int row, int col, std::uint16_t* out) const {
    L::LookUpInPanel(TableOf(row, col), WordsOf(row, col), col % kInt4Columns / 8, out);
  }

 private:
  const auto& TableOf(int row, int col) const {
    return tables_[col / kInt4Columns * kPanelRows + row];
  }
  auto WordsOf(int row, int col) const {
    return L::LoadWords(nibbles_ + row * row_bytes_ + col / kInt4Columns * 64);
  }

  const std::uint8_t* nibbles_;
  int row_bytes_;
  typename L::Table tables_[kChunkColumns / kInt4Columns * kPanelRows];
};

template <class L>
class Q6KChunk {
 public:
  static std::int64_t Bytes(int) { return Layout::kBytes; }
  Q6KChunk(const std::uint8_t* chunk, int) : rows_(chunk) {
    const L d = L::EightHalves(chunk + Layout::kD);
    const auto* const scales = reinterpret_cast<const std::int8_t*>(chunk + Layout::kScales);
    for (int i = 0; i < 128; i += 16) {
      L::Mul(L::FromInt8(scales + i), d).Store(scale_ + i);
    }
  }
  void Read(int row, int col, L* first, L* second) const {
    ReadExact(row, col, first, second);
    L::RoundNormalToBf16(first, second);
  }
  void Unpack(int row, int col, std::uint16_t* out) const {
    L first;
    L second;
    ReadExact(row, col, &first, &second);
    L::StoreRoundedInPanel(first, second, out);
  }

 private:
  using Layout = Q6KChunkLayout;

  void ReadExact(int row, int col, L* first, L* second) const {
    const std::uint8_t* const from = rows_ + row * Layout::kRowBytes;
    const auto low = L::LoadWords(from + col / 128 * 64);
    const auto high = L::LoadWords(from + Layout::kUpper);
    L::FromSixBits(low, col % 128 / 8, high, col / 16, first, second);
    const int group = col / 16 * kPanelRows + row;
    *first = L::Mul(*first, L::Set(scale_[group]));
    *second = L::Mul(*second, L::Set(scale_[group + kPanelRows]));
  }

  const std::uint8_t* rows_;
  alignas(64) float scale_[128];
};

// Calls f with a null pointer of the type of chunks. Returns whether there is one, which there is
// for all that IsReadInPlace.
template <class L, class F>
bool WithChunkType(Encoding encoding, const F& f) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return f(static_cast<Q8_0Chunk<L>*>(nullptr)), true;
    case Encoding::kQ4K:
      return f(static_cast<Q4KChunk<L>*>(nullptr)), true;
    case Encoding::kQ6K:
      return f(static_cast<Q6KChunk<L>*>(nullptr)), true;
    case Encoding::kInt4:
      return f(static_cast<Int4Chunk<L>*>(nullptr)), true;
    default:
      return false;
  }
}

template <class L, int kTokens, int kRows>
void AddProducts(const L* weights, const L& x, int t, L (*sums)[kTokens]) {
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) sums[r][t] = L::Fma(weights[r], x, sums[r][t]);
}

// Adds a chunk's columns to the sums of some rows, which stay in registers meanwhile.
template <class L, class Chunk, int kTokens, int kRows>
void AddChunk(const Chunk& chunk, int row, int cols, const float* x, std::int64_t x_stride,
              L (*acc)[kTokens]) {
  L sums[kRows][kTokens];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sums[r][t] = acc[r][t];
  }
#pragma GCC unroll 8
  for (int c = 0; c < cols; c += 32) {
    L first[kRows];
    L second[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) chunk.Read(row + r, c, &first[r], &second[r]);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      AddProducts<L, kTokens, kRows>(first, L::Load(x + t * x_stride + c), t, sums);
      AddProducts<L, kTokens, kRows>(second, L::Load(x + t * x_stride + c + 16), t, sums);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) acc[r][t] = sums[r][t];
  }
}

// Has the cache lines of the chunk that is computed after some others brought from memory: the
// processor's own foresight ends with each page of 4 KB.
template <class Chunk>
void FetchAhead(const std::uint8_t* panel, int cols) {
  constexpr std::int64_t kAheadBytes = 4096;
  for (std::int64_t at = 0; at < Chunk::Bytes(cols); at += 64) {
    __builtin_prefetch(panel + kAheadBytes + at);
  }
}

template <class L, class Chunk, int kTokens>
void MultiplyChunks(const std::uint8_t* panel, const float* x, std::int64_t x_stride,
                    std::int64_t depth_blocks, float* out) {
  // Chains of sums at once, as many as registers allow: each waits for its multiply-adds.
  constexpr int kRows = kTokens == 1 ? L::kPackedRows : (L::kPackedRows + 1) / 2;
  L acc[kPanelRows][kTokens];
  for (int r = 0; r < kPanelRows; ++r) {
    for (int t = 0; t < kTokens; ++t) acc[r][t] = L::Set(0.0F);
  }
  const std::int64_t depth = depth_blocks * kPanelDepth;
  for (std::int64_t first = 0; first < depth; first += kChunkColumns, x += kChunkColumns) {
    const std::int64_t left = depth - first;
    const int cols = left < kChunkColumns ? static_cast<int>(left) : kChunkColumns;
    FetchAhead<Chunk>(panel, cols);
    const Chunk chunk(panel, cols);
    for (int r = 0; r < kPanelRows; r += kRows) {
      AddChunk<L, Chunk, kTokens, kRows>(chunk, r, cols, x, x_stride, acc + r);
    }
    panel += Chunk::Bytes(cols);
  }
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kPanelRows; r += 4) {
      const L rows[4] = {acc[r][t], acc[r + 1][t], acc[r + 2][t], acc[r + 3][t]};
      L::Sum4(rows, out + t * kPanelRows + r);
    }
  }
}

template <class L>
void MultiplyPacked(Encoding encoding, const std::uint8_t* panel, const float* x,
                    std::int64_t x_stride, int tokens, std::int64_t depth_blocks, float* out) {
  WithChunkType<L>(encoding, [&]<class Chunk>(const Chunk*) {
    if (tokens == 1) MultiplyChunks<L, Chunk, 1>(panel, x, x_stride, depth_blocks, out);
    if (tokens == 2) MultiplyChunks<L, Chunk, 2>(panel, x, x_stride, depth_blocks, out);
    if (tokens == 3) MultiplyChunks<L, Chunk, 3>(panel, x, x_stride, depth_blocks, out);
    if (tokens == 4) MultiplyChunks<L, Chunk, 4>(panel, x, x_stride, depth_blocks, out);
  });
}

}  // namespace thinkwire::worker::kernels
