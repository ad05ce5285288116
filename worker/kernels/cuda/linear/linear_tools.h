#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "worker/kernels/cuda/device/device_memory.h"
#include "worker/kernels/cuda/linear/large_linear.h"
#include "worker/kernels/cuda/linear/weight_upload.h"
#include "worker/kernels/cuda/stream/op_stream.h"
#include "worker/kernels/cuda/stream/scratch.h"
#include "worker/kernels/device.h"
#include "worker/kernels/norm.h"

namespace thinkwire::worker::kernels {

// What the linears of one GPU share; its backend owns it, and they refer to it.
// Owns: cuBLASLt's handle, the upload's buffer, scratch memory. Threads: the stream's.
struct LinearTools {
  // Of the calling thread's GPU. Weights take their memory from `memory`, which must outlive this.
  // `fp8_inputs`: as DeviceConfig's.
  LinearTools(const cudaDeviceProp& properties, DeviceMemory& memory, bool fp8_inputs,
              OpStream& stream);

  // Takes the scratch memory that products of up to `extent` need.
  void Reserve(const StepExtent& extent, OpStream& stream);
  // Whether some product that reads the norm's output can do it on the way, or its rounding can.
  bool CanNormOnTheWay(const ResidualNorm& norm) const;

  const int num_sms;
  const bool has_small_linear;  // the device can do what small_linear.h needs
  const bool multiplies_fp8;    // what fp8_product.h needs, and was told to
  LargeLinear large;
  WeightUpload upload;
  Scratch sums;                       // QKV sums, or gates and ups
  Scratch expanded;                   // a packed weight as bf16
  Scratch rounded;                    // RoundedBytes, of tokens in e4m3
  std::int64_t most_fp8_columns = 0;  // of weights whose tokens are rounded
};

}  // namespace thinkwire::worker::kernels
