#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

namespace thinkwire::bench {

// Bytes of the first GPU's memory in use, by all processes and CUDA itself; 0: there is none. CMake
// picks the definition: memory_use_cpu.cc, or memory_use_cuda.cc where the toolkit is there.
std::int64_t GpuMemoryInUse();

// Looks every millisecond how much that is. Owns: the thread that does. Threads: peak, any.
class MemoryWatch {
 public:
  MemoryWatch();
  ~MemoryWatch();
  MemoryWatch(const MemoryWatch&) = delete;
  MemoryWatch& operator=(const MemoryWatch&) = delete;

  // The most so far.
  std::int64_t peak() const { return peak_; }

 private:
  void Look();

  std::atomic<std::int64_t> peak_ = 0;
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

}  // namespace thinkwire::bench
