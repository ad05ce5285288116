#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {
namespace {

// One of each instruction set that this machine has, with one to four threads.
std::vector<Way> CpuWays() {
  std::vector<Way> ways;
  for (const Isa isa : kAllIsas) {
    if (!IsSupported(isa)) continue;
    for (const int threads : {1, 2, 4}) {
      ways.push_back({std::string(RowKernelsFor(isa).name) + "_" + std::to_string(threads),
                      std::make_unique<CpuBackend>(threads, isa)});
    }
  }
  return ways;
}

// A block's keys are [K, D, B], its values [K, B, D].
std::int64_t HeadOf(const KvPlace& place) {
  return (place.block * place.kv_heads + place.head) * place.block_tokens * place.head_dim;
}
std::int64_t CpuKeyIndex(const KvPlace& place) {
  return HeadOf(place) + std::int64_t{place.d} * place.block_tokens + place.offset;
}
std::int64_t CpuValueIndex(const KvPlace& place) {
  return HeadOf(place) + std::int64_t{place.offset} * place.head_dim + place.d;
}

}  // namespace

std::vector<TestedDevice> TestedDevices() {
  return {{.name = "cpu",
           .activation = DType::kF32,
           .is_own_twin = true,
           .twin = []() -> std::unique_ptr<Backend> {
             return std::make_unique<CpuBackend>(1, Isa::kPortable);
           },
           .ways = &CpuWays,
           .key_index = &CpuKeyIndex,
           .value_index = &CpuValueIndex}};
}

}  // namespace thinkwire::worker::kernels
