#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace thinkwire::worker::kernels {

// Splits loops over a fixed set of threads, with wake-ups short enough for some 150 loops a token:
// idle threads spin for a few tens of microseconds and then sleep in the kernel.
//
// A loop is cut into chunks that whoever is awake takes in turn, so a worker that the machine does
// not schedule costs nothing but its share; only a worker inside a chunk is waited for.
//
// Owns: its threads. Threads: one thread (the caller, which works too) calls For.
class ThreadPool {
 public:
  // REQUIRES: num_threads >= 1, the caller included.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) on ranges that cover [0, n) once, each of `chunk` indices but
  // for the last; thread is in [0, num_threads()). Returns when all are done.
  template <class Body>
  void For(std::int64_t n, std::int64_t chunk, const Body& body) {
    Run(n, chunk, &Call<Body>, &body);
  }

  // A chunk length that gives each thread about `per_thread` chunks of at least `least` indices.
  std::int64_t ChunkFor(std::int64_t n, std::int64_t per_thread, std::int64_t least) const;

 private:
  using Function = void (*)(const void* body, std::int64_t begin, std::int64_t end, int thread);

  template <class Body>
  static void Call(const void* body, std::int64_t begin, std::int64_t end, int thread) {
    (*static_cast<const Body*>(body))(begin, end, thread);
  }

  void Run(std::int64_t n, std::int64_t chunk, Function function, const void* body);
  // Takes chunks of loop `generation` until none is left.
  void TakeChunks(std::uint32_t generation, int thread);
  void Work(int thread);
  // Waits for a loop after `generation`. Returns its number.
  std::uint32_t AwaitLoop(std::uint32_t generation);

  std::vector<std::thread> workers_;

  // The loop in progress. Written by the caller while ticket_ has no chunks left, so a thread that
  // takes a chunk by exchanging the ticket has read the fields of that ticket's loop.
  std::atomic<Function> function_{nullptr};
  std::atomic<const void*> body_{nullptr};
  std::atomic<std::int64_t> n_{0};
  std::atomic<std::int64_t> chunk_{1};
  std::atomic<std::uint32_t> num_chunks_{0};

  alignas(64) std::atomic<std::uint64_t> ticket_{0};  // loop number << 32 | chunks left
  alignas(64) std::atomic<std::uint32_t> done_{0};    // chunks finished in the loop
  alignas(64) std::atomic<std::uint32_t> loop_{0};    // number of the newest loop; to sleep on
  std::atomic<bool> stop_{false};
};

}  // namespace thinkwire::worker::kernels
