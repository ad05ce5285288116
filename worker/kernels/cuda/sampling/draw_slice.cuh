#pragma once

#include <cmath>
#include <cstdint>

#include "worker/kernels/cuda/sampling/draw_order.cuh"

namespace thinkwire::worker::kernels::draw {

// The block's columns of a row. Where there are none to a whole group of four: -infinity with ids
// that come after all others. Every thread reads and writes its own columns alone.
template <bool kCopied>
class Slice {
 public:
  // The `rank`-th `columns` of the row's `logits` [vocab_size]: a multiple of 4, but if all are one
  // block's. `copy` is shared memory for them, 16-byte aligned.
  __device__ Slice(const float* logits, std::int32_t vocab_size, std::int32_t columns,
                   unsigned rank, float* copy)
      : first_(static_cast<int>(rank) * columns),
        count_(min(columns, vocab_size - first_)),
        source_(logits + first_),
        copy_(copy) {}

  // Starts reading the logits.
  __device__ void Start() const {
    if constexpr (kCopied) {
      const bool aligned = reinterpret_cast<std::uintptr_t>(source_) % 16 == 0;
      for (int i = 4 * static_cast<int>(threadIdx.x); i < count_; i += 4 * kThreads) {
        if (aligned && i + 4 <= count_) {
          Copy<16>(i);
          continue;
        }
        for (int k = 0; k < 4; ++k) {
          if (i + k < count_) {
            Copy<4>(i + k);
          } else {
            copy_[i + k] = -INFINITY;
          }
        }
      }
    }
  }
  __device__ void Wait() const {
    if constexpr (kCopied) asm volatile("cp.async.wait_all;" ::: "memory");
  }

  // Calls f(id, logit) for all columns, in whole warps, ascending in each thread.
  template <class F>
  __device__ void ForLogits(F f) const {
    ForGroups([&](std::uint32_t id, int, const float4& x) {
      f(id, x.x);
      f(id + 1, x.y);
      f(id + 2, x.z);
      f(id + 3, x.w);
    });
  }
  // The same with t, which is there once the logits were divided.
  template <class F>
  __device__ void ForTempLogits(float temperature, F f) const {
    ForLogits([&](std::uint32_t id, float x) { f(id, kCopied ? x : TempLogit(x, temperature)); });
  }
  // Calls f(id, t of id to id + 3), likewise.
  template <class F>
  __device__ void ForFourTempLogits(float temperature, F f) const {
    ForGroups([&](std::uint32_t id, int, const float4& x) {
      const float t[4] = {
          kCopied ? x.x : TempLogit(x.x, temperature), kCopied ? x.y : TempLogit(x.y, temperature),
          kCopied ? x.z : TempLogit(x.z, temperature), kCopied ? x.w : TempLogit(x.w, temperature)};
      f(id, t);
    });
  }
  // Calls f(logit) and then divides the logits by the temperature.
  template <class F>
  __device__ void Divide(float temperature, F f) const {
    ForGroups([&](std::uint32_t, int i, const float4& x) {
      f(x.x);
      f(x.y);
      f(x.z);
      f(x.w);
      if constexpr (kCopied) {
        if (i < count_) {
          *reinterpret_cast<float4*>(copy_ + i) =
              make_float4(TempLogit(x.x, temperature), TempLogit(x.y, temperature),
                          TempLogit(x.z, temperature), TempLogit(x.w, temperature));
        }
      }
    });
  }

 private:
  template <int kBytes>
  __device__ void Copy(int i) const {
    const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(copy_ + i));
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(source_ + i),
                 "n"(kBytes)
                 : "memory");
  }

  template <class F>
  __device__ void ForGroups(F f) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    for (int warp = 4 * (static_cast<int>(threadIdx.x) - lane); warp < count_;
         warp += 4 * kThreads) {
      const int i = warp + 4 * lane;
      const std::uint32_t id = i < count_ ? static_cast<std::uint32_t>(first_ + i) : kIdMask - 3;
      f(id, i, Load(i));
    }
  }
  __device__ float4 Load(int i) const {
    if constexpr (kCopied) {
      if (i < count_) return *reinterpret_cast<const float4*>(copy_ + i);
      return make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    } else {
      return make_float4(LoadOne(i), LoadOne(i + 1), LoadOne(i + 2), LoadOne(i + 3));
    }
  }
  __device__ float LoadOne(int i) const { return i < count_ ? source_[i] : -INFINITY; }

  const int first_;
  const int count_;
  const float* const source_;
  float* const copy_;
};

}  // namespace thinkwire::worker::kernels::draw
