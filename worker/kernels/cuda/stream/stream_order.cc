#include "worker/kernels/cuda/stream/stream_order.h"

#include <cuda_runtime_api.h>

#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

class CudaFence final : public Fence {
 public:
  explicit CudaFence(OpStream& stream) : stream_(stream) {
    CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
  }
  ~CudaFence() override { cudaEventDestroy(event_); }
  void Record() override { CUDA_CHECK(cudaEventRecord(event_, stream_.Get())); }
  void Wait() override { CUDA_CHECK(cudaEventSynchronize(event_)); }

 private:
  OpStream& stream_;
  cudaEvent_t event_ = nullptr;
};

class CudaStamp final : public Stamp {
 public:
  explicit CudaStamp(OpStream& stream) : stream_(stream) { CUDA_CHECK(cudaEventCreate(&event_)); }
  ~CudaStamp() override { cudaEventDestroy(event_); }
  void Record() override { CUDA_CHECK(cudaEventRecord(event_, stream_.Get())); }
  double SecondsSince(const Stamp& earlier) const override {
    float milliseconds = 0;
    CUDA_CHECK(
        cudaEventElapsedTime(&milliseconds, static_cast<const CudaStamp&>(earlier).event_, event_));
    return milliseconds * 1e-3;
  }

 private:
  OpStream& stream_;
  cudaEvent_t event_ = nullptr;
};

class CudaReplay final : public Replay {
 public:
  CudaReplay(cudaGraph_t graph, OpStream& stream) : stream_(stream) {
    CUDA_CHECK(cudaGraphInstantiate(&executable_, graph, 0));
    CUDA_CHECK(cudaGraphUpload(executable_, stream_.Get()));
  }
  ~CudaReplay() override { cudaGraphExecDestroy(executable_); }
  void Run() override { CUDA_CHECK(cudaGraphLaunch(executable_, stream_.Get())); }

 private:
  OpStream& stream_;
  cudaGraphExec_t executable_ = nullptr;
};

}  // namespace

std::unique_ptr<Fence> MakeFence(OpStream& stream) { return std::make_unique<CudaFence>(stream); }

std::unique_ptr<Stamp> MakeStamp(OpStream& stream) { return std::make_unique<CudaStamp>(stream); }

std::unique_ptr<Replay> Record(const std::function<void()>& ops, OpStream& stream) {
  CUDA_CHECK(cudaStreamBeginCapture(stream.Get(), cudaStreamCaptureModeThreadLocal));
  ops();
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(stream.Get(), &graph));
  auto replay = std::make_unique<CudaReplay>(graph, stream);
  CUDA_CHECK(cudaGraphDestroy(graph));
  return replay;
}

}  // namespace thinkwire::worker::kernels
