#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/draw.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// Backend::Draw on `stream`, the CPU's bits. Needs no workspace; the launch's shape depends on
// L, the vocabulary's size and the device alone. REQUIRES: vocab_size < 2^20 - 4.
void LaunchDraw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn,
                cudaStream_t stream);

// Backend::Logprobs, likewise.
void LaunchLogprobs(const Tensor& logits, const LogprobsView& view, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
