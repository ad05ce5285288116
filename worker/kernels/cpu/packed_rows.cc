#include "worker/kernels/cpu/packed_rows.h"

#include <cstring>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {
namespace {

Encoding KeptAs(const WeightSlice& part) {
  return IsPacked(part.encoding) ? part.encoding : Encoding::kBf16;
}

std::int64_t RowBytes(const WeightSlice& part) { return BytesOf(KeptAs(part), part.cols); }

}  // namespace

std::size_t PackedRows::SizeOf(std::span<const WeightSlice> parts) {
  std::int64_t bytes = 0;
  for (const WeightSlice& part : parts) bytes += part.rows * RowBytes(part);
  return static_cast<std::size_t>(bytes);
}

PackedRows::PackedRows(std::span<const WeightSlice> parts, Buffer memory)
    : memory_(std::move(memory)) {
  auto* to = static_cast<std::uint8_t*>(memory_.data());
  for (const WeightSlice& part : parts) {
    const std::int64_t row_bytes = RowBytes(part);
    parts_.push_back({KeptAs(part), part.rows, row_bytes, to});
    for (std::int64_t r = 0; r < part.rows; ++r, to += row_bytes) {
      if (IsPacked(part.encoding)) {
        std::memcpy(to, part.row(r), static_cast<std::size_t>(row_bytes));
      } else {
        std::vector<std::uint16_t> row(static_cast<std::size_t>(part.cols));
        ConvertRow({&part, r}, row.data());
        std::memcpy(to, row.data(), static_cast<std::size_t>(row_bytes));
      }
    }
  }
}

PackedRows::Row PackedRows::row(std::int64_t index) const {
  for (const Part& part : parts_) {
    if (index < part.rows) return {part.encoding, part.data + index * part.row_bytes};
    index -= part.rows;
  }
  Check(false, "a row is within the stacked parts");
  return {};
}

}  // namespace thinkwire::worker::kernels
