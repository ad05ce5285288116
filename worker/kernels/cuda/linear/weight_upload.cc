#include "worker/kernels/cuda/linear/weight_upload.h"

#include <algorithm>
#include <cstddef>
#include <thread>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kBufferElements = 32 << 20;
// 2 MB: a copy that small takes 40 us of the bus, and starting it a tenth of that.
constexpr std::int64_t kPieceElements = 1 << 20;
constexpr int kPiecesAThread = 2;
constexpr int kMostThreads = kBufferElements / kPieceElements / kPiecesAThread;

}  // namespace

WeightUpload::WeightUpload(DeviceMemory& memory, cudaStream_t stream)
    : memory_(memory),
      stream_(stream),
      num_threads_(
          std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads)),
      sent_(static_cast<std::size_t>(num_threads_ * kPiecesAThread)) {
  CUDA_CHECK(cudaGetDevice(&device_));
  CUDA_CHECK(cudaMallocHost(reinterpret_cast<void**>(&buffer_), kBufferElements * 2));
  for (cudaEvent_t& sent : sent_) {
    CUDA_CHECK(cudaEventCreateWithFlags(&sent, cudaEventDisableTiming));
  }
}

WeightUpload::~WeightUpload() {
  cudaFreeHost(buffer_);
  for (const cudaEvent_t sent : sent_) cudaEventDestroy(sent);
}

Buffer WeightUpload::Run(std::int64_t rows, std::int64_t columns, const FillRow& fill) {
  Buffer matrix = memory_.Allocate(static_cast<std::size_t>(rows * columns) * 2, stream_);
  Fill(matrix.data(), rows, columns, fill);
  return matrix;
}

void WeightUpload::Fill(void* to, std::int64_t rows, std::int64_t columns, const FillRow& fill) {
  Check(columns <= kBufferElements / kPiecesAThread, "a row fits the upload's buffer");
  Matrix matrix = {.to = static_cast<std::uint16_t*>(to),
                   .rows = rows,
                   .columns = columns,
                   .piece_rows = std::max<std::int64_t>(1, kPieceElements / columns),
                   .fill = fill};
  // A thread more for each piece, if so many pieces of this size have room.
  const std::int64_t pieces = (rows + matrix.piece_rows - 1) / matrix.piece_rows;
  const std::int64_t room = kBufferElements / (kPiecesAThread * matrix.piece_rows * columns);
  const auto num_threads =
      static_cast<int>(std::min({pieces, room, static_cast<std::int64_t>(num_threads_)}));
  std::vector<std::thread> threads;
  for (int thread = 1; thread < num_threads; ++thread) {
    threads.emplace_back([this, &matrix, thread] { BringPieces(matrix, thread); });
  }
  BringPieces(matrix, 0);
  for (std::thread& thread : threads) thread.join();
  CUDA_CHECK(cudaStreamSynchronize(stream_));
}

void WeightUpload::BringPieces(Matrix& matrix, int thread) {
  CUDA_CHECK(cudaSetDevice(device_));
  const std::int64_t piece_elements = matrix.piece_rows * matrix.columns;
  int piece = thread * kPiecesAThread;
  for (std::int64_t row = matrix.next_piece++ * matrix.piece_rows; row < matrix.rows;
       row = matrix.next_piece++ * matrix.piece_rows, piece ^= 1) {
    const std::int64_t count = std::min(matrix.piece_rows, matrix.rows - row);
    std::uint16_t* const from = buffer_ + piece * piece_elements;
    cudaEvent_t const sent = sent_[static_cast<std::size_t>(piece)];
    CUDA_CHECK(cudaEventSynchronize(sent));
    for (std::int64_t r = 0; r < count; ++r) matrix.fill(row + r, from + r * matrix.columns);
    CUDA_CHECK(cudaMemcpyAsync(matrix.to + row * matrix.columns, from,
                               static_cast<std::size_t>(count * matrix.columns) * 2,
                               cudaMemcpyDefault, stream_));
    CUDA_CHECK(cudaEventRecord(sent, stream_));
  }
}

}  // namespace thinkwire::worker::kernels
