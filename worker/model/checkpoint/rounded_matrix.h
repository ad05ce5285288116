#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/requantize.h"

namespace thinkwire::worker::model {

// A tensor that is yet to be written.
struct TensorForm {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
};

// The tensors of `module`, a matrix of [rows, cols], in the order in which RoundMatrix has them.
// `group` is of columns. REQUIRES: it divides cols; for AWQ 8 divides rows.
std::vector<TensorForm> FormsOf(const std::string& module, std::int64_t rows, std::int64_t cols,
                                RequantizedAs format, std::int64_t group);

struct RoundedMatrix {
  std::vector<std::vector<std::byte>> tensors;
  double error = 0;      // sum of |weight - what it became|
  double magnitude = 0;  // sum of |weight|
};

// REQUIRES: `matrix` is of two dimensions, BF16, F16 or F32, finite, and as FormsOf asks.
RoundedMatrix RoundMatrix(const StoredTensor& matrix, RequantizedAs format, std::int64_t group);

}  // namespace thinkwire::worker::model
