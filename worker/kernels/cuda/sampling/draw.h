#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "worker/kernels/draw.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// What the blocks of few rows meet in.
struct DrawWorkspace {
  void* memory;  // DrawWorkspaceBytes() of the device, zero at first; each launch leaves zeros
  int num_sms;   // of the device, each of which runs a block at the same time
};
std::size_t DrawWorkspaceBytes();

// Backend::Draw on `stream`, the CPU's bits. The launch's shape depends on L, the vocabulary's size
// and the device alone. REQUIRES: vocab_size < 2^20 - 4; launches that share a workspace run one
// after another.
void LaunchDraw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn,
                const DrawWorkspace& workspace, cudaStream_t stream);

// Backend::Logprobs on `stream`, likewise, without a workspace.
void LaunchLogprobs(const Tensor& logits, const LogprobsView& view, cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
