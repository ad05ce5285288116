#include "tests/bench/read_roof.h"

#include <sys/mman.h>

#include <barrier>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

namespace thinkwire::bench {
namespace {

using Wide = std::uint64_t __attribute__((vector_size(64)));

// Four chains of 64 bytes, in the widest loads that the caller is compiled for.
[[gnu::always_inline]] inline std::uint64_t SumChains(const std::uint64_t* words,
                                                      std::size_t size) {
  Wide chain[4] = {};
  for (std::size_t i = 0; i + 32 <= size; i += 32) {
    for (std::size_t c = 0; c < 4; ++c) {
      Wide wide;
      __builtin_memcpy(&wide, words + i + 8 * c, sizeof(wide));
      chain[c] += wide;
    }
  }
  const Wide all = chain[0] + chain[1] + chain[2] + chain[3];
  std::uint64_t sum = 0;
  for (int i = 0; i < 8; ++i) sum += all[i];
  return sum;
}

[[gnu::target("avx512f")]] std::uint64_t SumAvx512(const std::uint64_t* words, std::size_t size) {
  return SumChains(words, size);
}

[[gnu::target("avx2")]] std::uint64_t SumAvx2(const std::uint64_t* words, std::size_t size) {
  return SumChains(words, size);
}

// Chosen here and not by target_clones: the loader would resolve that before ThreadSanitizer, which
// instruments the resolver, has begun.
std::uint64_t Sum(const std::uint64_t* words, std::size_t size) {
  if (__builtin_cpu_supports("avx512f")) return SumAvx512(words, size);
  if (__builtin_cpu_supports("avx2")) return SumAvx2(words, size);
  return SumChains(words, size);
}

// REQUIRES: a multiple of the huge page.
std::uint64_t* AllocateHuge(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  void* piece = std::aligned_alloc(kHugePage, bytes);
  if (piece == nullptr) std::abort();
  ::madvise(piece, bytes, MADV_HUGEPAGE);
  return static_cast<std::uint64_t*>(piece);
}

}  // namespace

void ReadRoof::Free::operator()(std::uint64_t* words) const { std::free(words); }

ReadRoof::ReadRoof(std::size_t bytes, int threads)
    : size_(bytes / sizeof(std::uint64_t)),
      words_(AllocateHuge(bytes)),
      threads_(static_cast<std::size_t>(threads)) {
  for (std::size_t i = 0; i < size_; ++i) words_[i] = i;
}

double ReadRoof::Measure() {
  std::vector<std::uint64_t> sums(threads_);
  std::barrier gate(static_cast<std::ptrdiff_t>(threads_) + 1);
  std::vector<std::thread> threads;
  const std::size_t share = size_ / threads_;
  for (std::size_t t = 0; t < threads_; ++t) {
    threads.emplace_back([&, t] {
      gate.arrive_and_wait();
      sums[t] = Sum(words_.get() + t * share, share);
      gate.arrive_and_wait();
    });
  }
  gate.arrive_and_wait();
  const auto start = std::chrono::steady_clock::now();
  gate.arrive_and_wait();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  for (std::thread& thread : threads) thread.join();
  for (const std::uint64_t sum : sums) total_ += sum;
  return static_cast<double>(share * threads_ * sizeof(std::uint64_t)) / seconds.count();
}

}  // namespace thinkwire::bench
