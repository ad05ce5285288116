#pragma once

#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// What a layer's part adds to the residual stream, and the norm that follows. All act [T, E], but
// weight bf16 [E]. A sum of its own lets a backend's next product do all this on the way. Letters
// as in backend.h.
struct ResidualNorm {
  Tensor partial = {};
  Tensor residual = {};
  Tensor sum = {};  // may be residual itself
  Tensor weight = {};
  float eps = 0;
  Tensor out = {};
};

}  // namespace thinkwire::worker::kernels
