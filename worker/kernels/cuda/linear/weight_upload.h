#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

#include "worker/kernels/buffer.h"

namespace thinkwire::worker::kernels {

// Brings rows of bf16 to the device: all cores fill one half of a page-locked buffer while the
// other half travels. Owns: the buffer. Threads: one at a time.
class WeightUpload {
 public:
  // Writes a row of the matrix to `to`. Called from several threads at once.
  using FillRow = std::function<void(std::int64_t row, std::uint16_t* to)>;

  explicit WeightUpload(cudaStream_t stream);
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  // Device memory with the matrix [rows, columns] in bf16; columns >= 1. Done on return.
  // REQUIRES: the calling thread's GPU is the stream's.
  Buffer Run(std::int64_t rows, std::int64_t columns, const FillRow& fill);
  // The same into memory that is there.
  void Fill(void* matrix, std::int64_t rows, std::int64_t columns, const FillRow& fill);

 private:
  static constexpr int kHalves = 2;

  const cudaStream_t stream_;
  std::uint16_t* halves_[kHalves] = {};
  cudaEvent_t sent_[kHalves] = {};
};

}  // namespace thinkwire::worker::kernels
