#include "tests/bench/host_roofs.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "tests/bench/read_roof.h"
#include "tests/bench/statistics.h"

namespace thinkwire::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{512} << 20;  // far over any core's caches
constexpr int kRepetitions = 5;
constexpr std::int64_t kRounds = 4'000'000;

// Enough independent chains to hide a multiply-add's latency, few enough to stay in registers.
template <class Lanes, int kChains>
inline __attribute__((always_inline)) float MultiplyAddChains(std::int64_t rounds) {
  Lanes chains[kChains];
  for (int i = 0; i < kChains; ++i) chains[i] = Lanes{} + static_cast<float>(i);
  const Lanes factor = Lanes{} + 0.999F;
  const Lanes addend = Lanes{} + 0.001F;
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) chains[i] = chains[i] * factor + addend;
  }
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += chains[i][0];
  return sum;
}

using Lanes16 = float __attribute__((vector_size(64)));
using Lanes8 = float __attribute__((vector_size(32)));
using Lanes4 = float __attribute__((vector_size(16)));

__attribute__((target("avx512f"))) float MultiplyAddAvx512(std::int64_t rounds) {
  return MultiplyAddChains<Lanes16, 16>(rounds);
}
__attribute__((target("avx2,fma"))) float MultiplyAddAvx2(std::int64_t rounds) {
  return MultiplyAddChains<Lanes8, 12>(rounds);
}
float MultiplyAddPortable(std::int64_t rounds) { return MultiplyAddChains<Lanes4, 12>(rounds); }

struct MultiplyAdd {
  float (*run)(std::int64_t rounds);
  double flops_a_round;
};

MultiplyAdd WidestMultiplyAdd() {
  if (__builtin_cpu_supports("avx512f")) return {MultiplyAddAvx512, 2.0 * 16 * 16};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {MultiplyAddAvx2, 2.0 * 12 * 8};
  }
  return {MultiplyAddPortable, 2.0 * 12 * 4};
}

double MeasureFlops(int num_threads) {
  const MultiplyAdd multiply_add = WidestMultiplyAdd();
  std::vector<float> sums(
      static_cast<std::size_t>(num_threads));  // so that the work is not left out
  std::vector<std::thread> threads;
  const auto start = std::chrono::steady_clock::now();
  for (float& sum : sums) threads.emplace_back([&] { sum = multiply_add.run(kRounds); });
  for (std::thread& thread : threads) thread.join();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return multiply_add.flops_a_round * static_cast<double>(kRounds) * num_threads / seconds.count();
}

}  // namespace

DeviceRoofs MeasureHostRoofs(int threads) {
  if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  ReadRoof read(kReadBytes, threads);
  std::vector<double> reads;
  std::vector<double> flops;
  for (int i = 0; i < kRepetitions; ++i) {
    reads.push_back(read.Measure());
    flops.push_back(MeasureFlops(threads));
  }
  return {
      .how = "host, " + std::to_string(threads) + " threads: plain reads, float32 multiply-adds",
      .read_bytes_per_second = Median(reads),
      .matrix_flops_per_second = Median(flops)};
}

}  // namespace thinkwire::bench
