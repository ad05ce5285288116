#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/device.h"

// What a checkpoint's matrices look like on their way to a device, and there. Letters as in
// backend.h.
namespace thinkwire::worker::kernels {

// How a slice's elements are stored: one after another, each by itself. An encoding that shares
// scales among elements (kInt4Grouped, kFp8Block128) would stand here too and bring its scales,
// zeros and group as fields of WeightSlice; so whoever fills a slice names its fields.
enum class Encoding : std::uint8_t { kBf16, kF16, kF32 };

constexpr std::size_t SizeOf(Encoding encoding) { return encoding == Encoding::kF32 ? 4 : 2; }

// Rows and columns of a checkpoint's matrix, in host memory, any alignment. A vector has cols 1.
struct WeightSlice {
  const void* data = nullptr;
  Encoding encoding = Encoding::kBf16;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  // elements from one row to the next, >= cols
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
