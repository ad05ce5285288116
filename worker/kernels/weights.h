#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/device.h"
#include "worker/kernels/group_words.h"
#include "worker/kernels/int4_block.h"

// What a checkpoint's matrices look like on their way to a device, and there. Letters as in
// backend.h.
namespace thinkwire::worker::kernels {

// How a slice's elements are stored. The first three: one after another, each by itself. The others
// are packed: blocks of a row's elements share scales. First llama.cpp's, as its files have them;
// then groups of AWQ's kind, in blocks of 128, 64 or 32 columns (kInt4: int4_block.h, the others:
// group_words.h). block_codes.h says what a packed weight is worth.
enum class Encoding : std::uint8_t {
  kBf16,
  kF16,
  kF32,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2K,
  kQ3K,
  kQ4K,
  kQ5K,
  kQ6K,
  kIq4Nl,
  kIq4Xs,
  kInt4,
  kInt4G64,
  kInt4G32,
  kInt8,
  kInt8G64,
  kInt8G32,
  kFp8,
};
inline constexpr int kNumEncodings = 22;

// So many elements of a row are stored in so many bytes.
struct BlockShape {
  std::int64_t elements;
  std::int64_t bytes;
};

constexpr BlockShape BlockOf(Encoding encoding) {
  constexpr BlockShape kShapes[kNumEncodings] = {{1, 2},
                                                 {1, 2},
                                                 {1, 4},
                                                 {32, 18},
                                                 {32, 20},
                                                 {32, 22},
                                                 {32, 24},
                                                 {32, 34},
                                                 {256, 84},
                                                 {256, 110},
                                                 {256, 144},
                                                 {256, 176},
                                                 {256, 210},
                                                 {32, 18},
                                                 {256, 136},
                                                 {kInt4Columns, kInt4PackedBytes},
                                                 {64, 32 + kInt4WordBytes},
                                                 {32, 16 + kInt4WordBytes},
                                                 {128, 128 + kInt8WordBytes},
                                                 {64, 64 + kInt8WordBytes},
                                                 {32, 32 + kInt8WordBytes},
                                                 {kFp8Columns, kFp8PackedBytes}};
  return kShapes[static_cast<int>(encoding)];
}

constexpr bool IsPacked(Encoding encoding) { return BlockOf(encoding).elements > 1; }

// REQUIRES: whole blocks.
constexpr std::int64_t BytesOf(Encoding encoding, std::int64_t elements) {
  return elements / BlockOf(encoding).elements * BlockOf(encoding).bytes;
}

// Rows and columns of a checkpoint's matrix, in host memory, any alignment. A vector has cols 1.
// Where there is an `order` [cols], column c multiplies input order[c] and not input c; the parts
// of a stack then have one and the same.
struct WeightSlice {
  const void* data = nullptr;
  Encoding encoding = Encoding::kBf16;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // elements from one row to the next, >= cols; whole blocks
  const std::int32_t* order = nullptr;

  const char* row(std::int64_t r) const {
    return static_cast<const char*>(data) + BytesOf(encoding, r * row_stride);
  }
};

enum class LinearLayout : std::uint8_t {
  kPlain,   // parts stacked by rows, for Linear and LmHead
  kQkv,     // queries, keys, values, each whole heads, for QkvRopeWriteKv alone; may have a bias
  kGateUp,  // two parts of equal shape, gate then up, for GateUpSwiGlu alone
};

// A matrix [out, in] in the backend's own layout, with its bias [out] if it is kQkv and has one.
// Threads: any may read it; the backend's own uses it in ops.
class LinearWeight {
 public:
  virtual ~LinearWeight() = default;
  virtual DeviceKind device() const = 0;  // whose ops take it
  virtual std::int64_t out_features() const = 0;
  virtual std::int64_t in_features() const = 0;
  virtual std::size_t bytes() const = 0;  // read when the matrix is applied once
};

}  // namespace thinkwire::worker::kernels
