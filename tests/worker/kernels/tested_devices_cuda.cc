#include <cuda_runtime_api.h>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/cuda_backend.h"

namespace thinkwire::worker::kernels {
namespace {

std::vector<Way> CudaWays() {
  std::vector<Way> ways;
  ways.push_back({"again", std::make_unique<CudaBackend>(0)});
  return ways;
}

std::int64_t CudaKvIndex(const KvPlace& place) {
  return KvTokenOffset(place.block, place.kv_heads, place.head, place.block_tokens, place.offset) +
         (place.fp8 ? KvElement<Fp8Kv>(place.d, place.offset)
                    : KvElement<Bf16Kv>(place.d, place.offset));
}

}  // namespace

std::vector<TestedDevice> TestedDevices() {
  return {{.name = "cuda",
           .activation = DType::kBf16,
           .is_own_twin = false,
           .twin = []() -> std::unique_ptr<Backend> { return std::make_unique<CpuBackend>(4); },
           .ways = &CudaWays,
           .key_index = &CudaKvIndex,
           .value_index = &CudaKvIndex}};
}

}  // namespace thinkwire::worker::kernels
