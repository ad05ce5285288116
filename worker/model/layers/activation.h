#pragma once

#include <cstdint>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// Device memory for up to `max_rows` rows, allocated once at start.
class Activation {
 public:
  Activation(kernels::Backend& backend, std::int64_t max_rows, std::int64_t cols)
      : Activation(backend, backend.capabilities().activation, max_rows, cols) {}
  Activation(kernels::Backend& backend, kernels::DType dtype, std::int64_t max_rows,
             std::int64_t cols)
      : dtype_(dtype),
        cols_(cols),
        buffer_(
            backend.Allocate(static_cast<std::size_t>(max_rows * cols) * kernels::SizeOf(dtype))) {}

  // The first rows. REQUIRES: rows <= max_rows.
  kernels::Tensor Rows(std::int64_t rows) const {
    return kernels::MakeTensor(buffer_.data(), dtype_, rows, cols_);
  }

 private:
  kernels::DType dtype_;
  std::int64_t cols_;
  kernels::Buffer buffer_;
};

}  // namespace thinkwire::worker::model
