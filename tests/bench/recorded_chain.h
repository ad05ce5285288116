#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::bench {

// What a launch takes on the device when launches follow each other as in a step: many of them are
// recorded once and replayed.
// Owns: a stream of its own. Threads: one.
class RecordedChain {
 public:
  RecordedChain() {
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    CUDA_CHECK(cudaEventCreate(&begin_));
    CUDA_CHECK(cudaEventCreate(&end_));
  }
  ~RecordedChain() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  RecordedChain(const RecordedChain&) = delete;
  RecordedChain& operator=(const RecordedChain&) = delete;

  cudaStream_t stream() const { return stream_; }

  // Microseconds a launch: the median of five replays of launch(0) to launch(runs - 1), which
  // launch on stream().
  double Microseconds(std::size_t runs, const std::function<void(std::size_t)>& launch) {
    launch(0);  // what the first run chooses or loads is not recorded
    CUDA_CHECK(cudaStreamSynchronize(stream_));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t replay = nullptr;
    CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    for (std::size_t i = 0; i < runs; ++i) launch(i);
    CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    CUDA_CHECK(cudaGraphInstantiate(&replay, graph, 0));
    std::vector<double> times;
    for (int i = 0; i <= kReplays; ++i) times.push_back(MicrosecondsOf(replay));
    times.erase(times.begin());
    std::sort(times.begin(), times.end());
    CUDA_CHECK(cudaGraphExecDestroy(replay));
    CUDA_CHECK(cudaGraphDestroy(graph));
    return times[kReplays / 2] / static_cast<double>(runs);
  }

 private:
  static constexpr int kReplays = 5;

  double MicrosecondsOf(cudaGraphExec_t replay) {
    CUDA_CHECK(cudaEventRecord(begin_, stream_));
    CUDA_CHECK(cudaGraphLaunch(replay, stream_));
    CUDA_CHECK(cudaEventRecord(end_, stream_));
    CUDA_CHECK(cudaEventSynchronize(end_));
    float ms = 0;
    CUDA_CHECK(cudaEventElapsedTime(&ms, begin_, end_));
    return 1e3 * ms;
  }

  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace thinkwire::bench
