#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace thinkwire::worker::text {

// For tables of megabytes that are read at random places: asks for pages of 2 MiB, so that reading
// them seldom waits for an address to be translated. Where the system has none to give, these are
// pages as any. Threads: any.
template <class T>
class HugePageAllocator {
 public:
  using value_type = T;

  HugePageAllocator() = default;
  template <class Other>
  explicit HugePageAllocator(const HugePageAllocator<Other>& /*other*/) {}

  T* allocate(std::size_t size) {
    const std::size_t bytes = RoundedBytes(size);
    void* const memory = ::operator new(bytes, Alignment(bytes));
#ifdef MADV_HUGEPAGE
    if (bytes >= kHugePageBytes) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }

  void deallocate(T* memory, std::size_t size) {
    ::operator delete(memory, Alignment(RoundedBytes(size)));
  }

  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

 private:
  static constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

  static std::size_t RoundedBytes(std::size_t size) {
    const std::size_t bytes = size * sizeof(T);
    if (bytes < kHugePageBytes) return bytes;
    return (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
  }
  static std::align_val_t Alignment(std::size_t bytes) {
    return std::align_val_t{bytes < kHugePageBytes ? alignof(T) : kHugePageBytes};
  }
};

template <class T>
using HugePageVector = std::vector<T, HugePageAllocator<T>>;

}  // namespace thinkwire::worker::text
