#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/tensor.h"

// Launchers of the ops that only move; backend.h says what each computes. All check their shapes
// and run on `stream`.
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

}  // namespace thinkwire::worker::kernels
