#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/device/device_memory.h"

namespace thinkwire::worker::kernels {

// Brings rows of bf16 to the device: threads each fill one of two pieces of a page-locked buffer
// while the other one travels, so that many read the rows and the bus never waits.
// Owns: the buffer. Threads: one at a time.
class WeightUpload {
 public:
  // Writes a row of the matrix to `to`. Called from several threads at once.
  using FillRow = std::function<void(std::int64_t row, std::uint16_t* to)>;

  // `memory`, of the stream's GPU, must outlive this object.
  WeightUpload(DeviceMemory& memory, cudaStream_t stream);
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  // Memory of the device with the matrix [rows, columns] in bf16; columns >= 1. Done on return.
  // REQUIRES: the calling thread's GPU is the stream's.
  Buffer Run(std::int64_t rows, std::int64_t columns, const FillRow& fill);
  // The same into memory that is there, the device's or pinned.
  void Fill(void* matrix, std::int64_t rows, std::int64_t columns, const FillRow& fill);

 private:
  // A matrix on its way, in pieces of whole rows.
  struct Matrix {
    std::uint16_t* to;
    std::int64_t rows;
    std::int64_t columns;
    std::int64_t piece_rows;
    const FillRow& fill;
    std::atomic<std::int64_t> next_piece = 0;
  };

  // Brings pieces until there are no more, by the two pieces of the buffer that are `thread`'s.
  void BringPieces(Matrix& matrix, int thread);

  DeviceMemory& memory_;
  const cudaStream_t stream_;
  int device_ = 0;  // the stream's
  const int num_threads_;
  std::uint16_t* buffer_ = nullptr;
  std::vector<cudaEvent_t> sent_;  // two a thread: its pieces may be filled again
};

}  // namespace thinkwire::worker::kernels
