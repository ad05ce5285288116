#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// The rows of a linear's parts as their files pack them, one after another: the only copy that the
// CPU keeps of a packed matrix. Parts may be of different encodings; those that are not packed are
// kept as bf16.
// Owns: the rows. Threads: immutable.
class PackedRows {
 public:
  PackedRows() = default;
  // REQUIRES: `memory` has SizeOf(parts) bytes.
  PackedRows(std::span<const WeightSlice> parts, Buffer memory);

  static std::size_t SizeOf(std::span<const WeightSlice> parts);

  struct Row {
    Encoding encoding;
    const std::uint8_t* data;
  };
  // Of all parts' rows. REQUIRES: it is one.
  Row row(std::int64_t index) const;

  std::size_t bytes() const { return memory_.bytes(); }

 private:
  struct Part {
    Encoding encoding;
    std::int64_t rows;
    std::int64_t row_bytes;
    const std::uint8_t* data;
  };

  Buffer memory_;
  std::vector<Part> parts_;
};

}  // namespace thinkwire::worker::kernels
