#include "worker/kernels/cuda/linear/weight_upload.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/device_memory.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kHalfElements = 16 << 20;

void FillInParallel(std::int64_t first, std::int64_t count, std::int64_t columns,
                    const WeightUpload::FillRow& fill, std::uint16_t* to) {
  const std::int64_t cores = std::max(1U, std::thread::hardware_concurrency());
  const std::int64_t share = (count + cores - 1) / cores;
  std::vector<std::thread> threads;
  for (std::int64_t row = 0; row < count; row += share) {
    const std::int64_t rows = std::min(share, count - row);
    threads.emplace_back([=, &fill] {
      for (std::int64_t r = row; r < row + rows; ++r) fill(first + r, to + r * columns);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

WeightUpload::WeightUpload(cudaStream_t stream) : stream_(stream) {
  for (int i = 0; i < kHalves; ++i) {
    CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&halves_[i]), kHalfElements * 2));
    CUDA_CHECK(cudaEventCreateWithFlags(&sent_[i], cudaEventDisableTiming));
  }
}

WeightUpload::~WeightUpload() {
  for (int i = 0; i < kHalves; ++i) {
    cudaFreeHost(halves_[i]);
    cudaEventDestroy(sent_[i]);
  }
}

Buffer WeightUpload::Run(std::int64_t rows, std::int64_t columns, const FillRow& fill) {
  Buffer matrix = AllocateOnDevice(static_cast<std::size_t>(rows * columns) * 2, stream_);
  Fill(matrix.data(), rows, columns, fill);
  return matrix;
}

void WeightUpload::Fill(void* matrix, std::int64_t rows, std::int64_t columns,
                        const FillRow& fill) {
  Check(columns <= kHalfElements, "a row fits the upload's buffer");
  const std::int64_t step = kHalfElements / columns;
  auto* const to = static_cast<std::uint16_t*>(matrix);
  int half = 0;
  for (std::int64_t row = 0; row < rows; row += step, half = (half + 1) % kHalves) {
    const std::int64_t count = std::min(step, rows - row);
    CUDA_CHECK(cudaEventSynchronize(sent_[half]));
    FillInParallel(row, count, columns, fill, halves_[half]);
    CUDA_CHECK(cudaMemcpyAsync(to + row * columns, halves_[half],
                               static_cast<std::size_t>(count * columns) * 2,
                               cudaMemcpyHostToDevice, stream_));
    CUDA_CHECK(cudaEventRecord(sent_[half], stream_));
  }
  CUDA_CHECK(cudaStreamSynchronize(stream_));
}

}  // namespace thinkwire::worker::kernels
