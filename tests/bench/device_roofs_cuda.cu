// Reads: every thread of a full grid takes 16-byte loads, eight at a time, from 4 GiB of noise that
// no cache holds. Products: C = A B^T of 8192 x 8192 bf16 matrices of noise (power draw, and so the
// clock, depends on the numbers), accumulated in float32, by cuBLAS. Each is the median of five,
// one device after the other; the sum over the devices is their roof together.
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tests/bench/device_roofs.h"
#include "tests/bench/host_roofs.h"
#include "tests/bench/statistics.h"

namespace thinkwire::bench {
namespace {

constexpr int kRepetitions = 5;
constexpr int kThreads = 256;
constexpr int kLoads = 8;  // in flight a thread
constexpr std::size_t kReadBytes = std::size_t{4} << 30;
constexpr int kMatrix = 8192;
constexpr int kProducts = 8;  // a repetition
constexpr std::size_t kMatrixBytes = std::size_t{kMatrix} * kMatrix * 2;

// Pairs of bf16 in (-2, 2): signs, fractions and four exponents at random.
__global__ void FillKernel(std::uint32_t* words, std::size_t size) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < size; i += stride) {
    std::uint32_t x = static_cast<std::uint32_t>(i) * 2654435761U + 12345U;
    x = (x ^ (x >> 15)) * 2246822519U;
    x = (x ^ (x >> 13)) * 3266489917U;
    x ^= x >> 16;
    words[i] = (x & 0x81FF81FFU) | 0x3E003E00U;
  }
}

__global__ void ReadKernel(const uint4* data, std::size_t size, std::uint32_t* sink) {
  const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
  std::uint32_t sum = 0;
  std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; i + (kLoads - 1) * stride < size; i += kLoads * stride) {
    uint4 loads[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) loads[u] = __ldcs(data + i + u * stride);
#pragma unroll
    for (int u = 0; u < kLoads; ++u) sum ^= loads[u].x ^ loads[u].y ^ loads[u].z ^ loads[u].w;
  }
  for (; i < size; i += stride) sum ^= __ldcs(data + i).x;
  if (sum == 0x12345678U) *sink = sum;  // so that the loads are not left out
}

// The first CUDA or cuBLAS call that failed.
class Failure {
 public:
  bool Ok(cudaError_t code) { return Ok(code == cudaSuccess, cudaGetErrorString(code)); }
  bool Ok(cublasStatus_t code) {
    return Ok(code == CUBLAS_STATUS_SUCCESS, cublasGetStatusString(code));
  }
  const std::string& message() const { return message_; }
  bool happened() const { return !message_.empty(); }

 private:
  bool Ok(bool ok, const char* message) {
    if (!ok && message_.empty()) message_ = message;
    return ok;
  }
  std::string message_;
};

struct DeviceFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, DeviceFree>;

DeviceMemory AllocateNoise(std::size_t bytes, Failure& failure) {
  void* memory = nullptr;
  if (!failure.Ok(cudaMalloc(&memory, bytes))) return nullptr;
  FillKernel<<<1024, kThreads>>>(static_cast<std::uint32_t*>(memory), bytes / 4);
  failure.Ok(cudaGetLastError());
  return DeviceMemory(memory);
}

struct EventDestroy {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<CUevent_st, EventDestroy>;

Event MakeEvent(Failure& failure) {
  cudaEvent_t event = nullptr;
  failure.Ok(cudaEventCreate(&event));
  return Event(event);
}

// Median seconds of what `launch` enqueues, after one run to warm up.
double MedianSeconds(const std::function<void()>& launch, Failure& failure) {
  const Event start = MakeEvent(failure);
  const Event end = MakeEvent(failure);
  std::vector<double> seconds;
  for (int i = 0; i <= kRepetitions && !failure.happened(); ++i) {
    failure.Ok(cudaEventRecord(start.get()));
    launch();
    failure.Ok(cudaEventRecord(end.get()));
    failure.Ok(cudaEventSynchronize(end.get()));
    float milliseconds = 0;
    failure.Ok(cudaEventElapsedTime(&milliseconds, start.get(), end.get()));
    if (i > 0) seconds.push_back(milliseconds * 1e-3);
  }
  return failure.happened() ? 1 : Median(seconds);
}

double MeasureReads(int device, Failure& failure) {
  int processors = 0;
  failure.Ok(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
  const DeviceMemory data = AllocateNoise(kReadBytes, failure);
  if (failure.happened()) return 0;
  auto* const words = static_cast<std::uint32_t*>(data.get());
  const double seconds = MedianSeconds(
      [&] {
        ReadKernel<<<processors * 8, kThreads>>>(reinterpret_cast<const uint4*>(words),
                                                 kReadBytes / sizeof(uint4), words);
        failure.Ok(cudaGetLastError());
      },
      failure);
  return static_cast<double>(kReadBytes) / seconds;
}

double MeasureProducts(Failure& failure) {
  const DeviceMemory a = AllocateNoise(kMatrixBytes, failure);
  const DeviceMemory b = AllocateNoise(kMatrixBytes, failure);
  const DeviceMemory c = AllocateNoise(kMatrixBytes, failure);
  cublasHandle_t handle = nullptr;
  if (failure.happened() || !failure.Ok(cublasCreate(&handle))) return 0;
  const float one = 1;
  const float zero = 0;
  const double seconds = MedianSeconds(
      [&] {
        for (int i = 0; i < kProducts; ++i) {
          failure.Ok(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, kMatrix, kMatrix, kMatrix, &one,
                                  a.get(), CUDA_R_16BF, kMatrix, b.get(), CUDA_R_16BF, kMatrix,
                                  &zero, c.get(), CUDA_R_16BF, kMatrix, CUBLAS_COMPUTE_32F,
                                  CUBLAS_GEMM_DEFAULT));
        }
      },
      failure);
  cublasDestroy(handle);
  return kProducts * 2.0 * kMatrix * kMatrix * kMatrix / seconds;
}

}  // namespace

std::optional<DeviceRoofs> MeasureDeviceRoofs(const std::string& device, int ranks, int cpu_threads,
                                              std::string* error) {
  int devices = 0;
  const bool has_gpu = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  if (device == "cpu" || (device == "auto" && !has_gpu)) return MeasureHostRoofs(cpu_threads);
  if (devices < ranks) {
    *error = std::to_string(ranks) + " GPUs were asked for; there are " + std::to_string(devices);
    return std::nullopt;
  }
  DeviceRoofs roofs;
  Failure failure;
  for (int i = 0; i < ranks && !failure.happened(); ++i) {
    cudaDeviceProp properties = {};
    failure.Ok(cudaSetDevice(i));
    failure.Ok(cudaGetDeviceProperties(&properties, i));
    roofs.how = std::to_string(ranks) + " x " + properties.name +
                ": plain 16-byte reads of 4 GiB, bf16 products of 8192^3";
    roofs.read_bytes_per_second += MeasureReads(i, failure);
    roofs.matrix_flops_per_second += MeasureProducts(failure);
  }
  if (ranks > 0) cudaSetDevice(0);
  if (!failure.happened()) return roofs;
  *error = "the GPUs' roofs could not be measured: " + failure.message();
  return std::nullopt;
}

}  // namespace thinkwire::bench
