#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/backend.h"

// Launchers of the ops that work token by token; backend.h says what each computes. All check their
// shapes and run on `stream`.
namespace thinkwire::worker::kernels {

// Copies 32-bit words between the device and pinned host memory, both aligned to 16 bytes.
void LaunchCopyWords(const void* from, std::int64_t words, void* to, bool from_host,
                     cudaStream_t stream);
void LaunchScatter(const Tensor& index, const Tensor& values, const Tensor& to,
                   cudaStream_t stream);
void LaunchGatherInputIds(const Tensor& given, const Tensor& source_slot, const Tensor& last_drawn,
                          const Tensor& ids, cudaStream_t stream);
void LaunchEmbed(const Tensor& ids, const Tensor& table, const Tensor& out, cudaStream_t stream);
void LaunchGatherRows(const Tensor& x, const Tensor& rows, const Tensor& out, cudaStream_t stream);

// Ends the process unless the shapes are AddRmsNorm's, with E as row_norm.cuh takes it.
void CheckResidualNorm(const ResidualNorm& norm);
// Without a partial: out = RmsNorm(residual), and sum counts for nothing.
void LaunchAddRmsNorm(const ResidualNorm& norm, cudaStream_t stream);

// out[t, f] = SwiGlu(gate, up) of gate_up bf16 [T, 2F], columns tiled as a kGateUp weight's rows.
void LaunchSwiGlu(const Tensor& gate_up, const Tensor& out, cudaStream_t stream);

// The rest of QkvRopeWriteKv: `sums` f32 [T, (H + 2K) * D] are x W^T; bias bf16 [(H + 2K) * D] or
// null.
void LaunchRopeWriteKv(const Tensor& sums, const void* bias, const Tensor& rope,
                       const BatchView& batch, const KvLayer& kv, const Tensor& q,
                       cudaStream_t stream);

}  // namespace thinkwire::worker::kernels
