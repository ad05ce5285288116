#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

namespace thinkwire::worker::kernels {

// Brings rows of bf16 to the device: all cores fill one half of a page-locked buffer while the
// other half travels. Owns: the buffer. Threads: one at a time.
class WeightUpload {
 public:
  // Writes rows [first, first + count) of the matrix, one after another, to `to`. Called from
  // several threads at once.
  using FillRows = std::function<void(std::int64_t first, std::int64_t count, std::uint16_t* to)>;

  explicit WeightUpload(cudaStream_t stream);
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  // `device` [rows, columns] bf16; columns >= 1. Done on return.
  void Run(std::int64_t rows, std::int64_t columns, const FillRows& fill, void* device);

 private:
  static constexpr int kHalves = 2;

  const cudaStream_t stream_;
  std::uint16_t* halves_[kHalves] = {};
  cudaEvent_t sent_[kHalves] = {};
};

}  // namespace thinkwire::worker::kernels
