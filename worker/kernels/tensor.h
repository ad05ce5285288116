#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {

// kE4m3: FP8, of which e4m3.h has the bits.
enum class DType : std::uint8_t { kF32, kBf16, kI32, kE4m3 };

constexpr std::size_t SizeOf(DType dtype) {
  if (dtype == DType::kE4m3) return 1;
  return dtype == DType::kBf16 ? 2 : 4;
}

// A view of memory that somebody else owns: row-major, last dimension contiguous, no padding.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<std::int64_t, 4> dims{};

  std::int64_t dim(int i) const { return dims[static_cast<std::size_t>(i)]; }
  std::int64_t size() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dim(i);
    return n;
  }
  std::size_t bytes() const { return static_cast<std::size_t>(size()) * SizeOf(dtype); }

  // REQUIRES: T is the element type that `dtype` names.
  template <class T>
  T* as() const {
    static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4);
    Check(sizeof(T) == SizeOf(dtype), "tensor read as a type of another size");
    return static_cast<T*>(data);
  }
};

inline Tensor MakeTensor(void* data, DType dtype, std::int64_t d0) {
  return Tensor{data, dtype, 1, {d0}};
}
inline Tensor MakeTensor(void* data, DType dtype, std::int64_t d0, std::int64_t d1) {
  return Tensor{data, dtype, 2, {d0, d1}};
}
inline Tensor MakeTensor(void* data, DType dtype, std::int64_t d0, std::int64_t d1,
                         std::int64_t d2) {
  return Tensor{data, dtype, 3, {d0, d1, d2}};
}

}  // namespace thinkwire::worker::kernels
