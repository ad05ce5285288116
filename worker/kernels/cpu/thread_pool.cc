#include "worker/kernels/cpu/thread_pool.h"

#include <algorithm>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {
namespace {

// About 30 us of pauses on current x86: longer than the serial pieces between two loops of a step.
constexpr int kSpins = 1500;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  Check(num_threads >= 1, "a pool needs a thread");
  for (int i = 1; i < num_threads; ++i) workers_.emplace_back([this, i] { Work(i); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  loop_.fetch_add(1);
  loop_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

std::int64_t ThreadPool::ChunkFor(std::int64_t n, std::int64_t per_thread,
                                  std::int64_t least) const {
  const std::int64_t chunks = per_thread * num_threads();
  return std::max<std::int64_t>({least, (n + chunks - 1) / chunks, 1});
}

void ThreadPool::Run(std::int64_t n, std::int64_t chunk, Function function, const void* body) {
  if (n <= 0) return;
  if (workers_.empty() || n <= chunk) {
    for (std::int64_t begin = 0; begin < n; begin += chunk) {
      function(body, begin, std::min(n, begin + chunk), 0);
    }
    return;
  }
  const auto num_chunks = static_cast<std::uint32_t>((n + chunk - 1) / chunk);
  function_.store(function, std::memory_order_release);
  body_.store(body, std::memory_order_release);
  n_.store(n, std::memory_order_release);
  chunk_.store(chunk, std::memory_order_release);
  num_chunks_.store(num_chunks, std::memory_order_release);
  done_.store(0, std::memory_order_release);

  const std::uint32_t generation = loop_.load(std::memory_order_relaxed) + 1;
  ticket_.store(static_cast<std::uint64_t>(generation) << 32 | num_chunks,
                std::memory_order_release);
  loop_.store(generation, std::memory_order_seq_cst);
  loop_.notify_all();

  TakeChunks(generation, 0);
  for (int spin = 0; done_.load(std::memory_order_acquire) != num_chunks; ++spin) {
    spin < kSpins ? Pause() : std::this_thread::yield();
  }
}

void ThreadPool::TakeChunks(std::uint32_t generation, int thread) {
  std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
  while (true) {
    const auto left = static_cast<std::uint32_t>(ticket);
    if (static_cast<std::uint32_t>(ticket >> 32) != generation || left == 0) return;
    const Function function = function_.load(std::memory_order_acquire);
    const void* body = body_.load(std::memory_order_acquire);
    const std::int64_t n = n_.load(std::memory_order_acquire);
    const std::int64_t chunk = chunk_.load(std::memory_order_acquire);
    const std::uint32_t num_chunks = num_chunks_.load(std::memory_order_acquire);
    if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      continue;
    }
    const std::int64_t begin = (num_chunks - left) * chunk;
    function(body, begin, std::min(n, begin + chunk), thread);
    done_.fetch_add(1, std::memory_order_acq_rel);
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

void ThreadPool::Work(int thread) {
  std::uint32_t generation = 0;
  while (true) {
    generation = AwaitLoop(generation);
    if (stop_.load()) return;
    TakeChunks(generation, thread);
  }
}

std::uint32_t ThreadPool::AwaitLoop(std::uint32_t generation) {
  for (int spin = 0; spin < kSpins; ++spin) {
    const std::uint32_t now = loop_.load(std::memory_order_acquire);
    if (now != generation) return now;
    Pause();
  }
  loop_.wait(generation, std::memory_order_acquire);
  return loop_.load(std::memory_order_acquire);
}

}  // namespace thinkwire::worker::kernels
