#pragma once

#include <cuda_runtime_api.h>

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
  LinearTools(const cudaDeviceProp& properties, DeviceMemory& memory, OpStream& stream);

  // Takes the scratch memory that products of up to `extent` need.
  void Reserve(const StepExtent& extent, OpStream& stream);
  // Whether a product that reads the norm's output can do it on the way.
  bool CanNormOnTheWay(const ResidualNorm& norm) const;

  const int num_sms;
  const bool has_small_linear;  // the device can do what small_linear.h needs
  LargeLinear large;
  WeightUpload upload;
  Scratch sums;      // QKV sums, or gates and ups
  Scratch expanded;  // a packed weight as bf16
};

}  // namespace thinkwire::worker::kernels
