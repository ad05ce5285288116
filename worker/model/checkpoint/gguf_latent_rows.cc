#include "worker/model/checkpoint/gguf_latent_rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::model {
namespace {

// bf16 [rows, cols] in the making.
class Rows {
 public:
  explicit Rows(const Region& region) : region_(region) {
    host_.owned.resize(static_cast<std::size_t>(region.rows * region.cols) * sizeof(std::uint16_t));
  }

  // `row` of kv_b_proj, which is of the region.
  void Put(std::int64_t row, std::int64_t col, std::uint16_t bits) {
    const std::int64_t at = (row - region_.first_row) * region_.cols + col - region_.first_col;
    std::memcpy(host_.owned.data() + at * 2, &bits, sizeof(bits));
  }

  HostSlice Take() && {
    host_.slice = {.data = host_.owned.data(),
                   .encoding = kernels::Encoding::kBf16,
                   .rows = region_.rows,
                   .cols = region_.cols,
                   .row_stride = region_.cols};
    return std::move(host_);
  }

 private:
  const Region region_;
  HostSlice host_;
};

// Rows from `first` to `end`, which is not of them.
struct Span {
  std::int64_t first;
  std::int64_t end;
};

// Those of [begin, begin + count) that the region has.
Span Within(const Region& region, std::int64_t begin, std::int64_t count) {
  return {std::max(begin, region.first_row),
          std::min(begin + count, region.first_row + region.rows)};
}

}  // namespace

HostSlice GgufLatentRows(const kernels::WeightSlice& keys, const kernels::WeightSlice& values,
                         const GgufLatentWidths& widths, const Region& region) {
  const std::int64_t height = widths.keys + widths.values;
  const std::int64_t latent = values.cols;
  const std::int64_t end_col = region.first_col + region.cols;
  Rows rows(region);
  std::vector<std::uint16_t> row(static_cast<std::size_t>(std::max(widths.keys, latent)));
  for (std::int64_t head = region.first_row / height;
       head * height < region.first_row + region.rows; ++head) {
    const std::int64_t begin = head * height;
    const Span of_keys = Within(region, begin, widths.keys);
    for (std::int64_t c = region.first_col; of_keys.first < of_keys.end && c < end_col; ++c) {
      kernels::ConvertRow({&keys, head * latent + c}, row.data());
      for (std::int64_t r = of_keys.first; r < of_keys.end; ++r) {
        rows.Put(r, c, row[static_cast<std::size_t>(r - begin)]);
      }
    }
    const std::int64_t of_values = begin + widths.keys;
    const Span wanted = Within(region, of_values, widths.values);
    for (std::int64_t r = wanted.first; r < wanted.end; ++r) {
      kernels::ConvertRow({&values, head * widths.values + r - of_values}, row.data());
      for (std::int64_t c = region.first_col; c < end_col; ++c) {
        rows.Put(r, c, row[static_cast<std::size_t>(c)]);
      }
    }
  }
  return std::move(rows).Take();
}

}  // namespace thinkwire::worker::model
