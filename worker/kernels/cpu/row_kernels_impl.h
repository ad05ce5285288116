#pragma once

#include <cstdint>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/exp.h"

// The inner loops over a type L of sixteen f32 lanes. What fixes the bits, on every instruction
// set:
//  - a dot product or sum over n elements: lane j takes elements j, 16 + j, ... in ascending order
//    by fused multiply-add, missing elements being 0; then the lanes are added as a tree, lane j
//    and lane j + 8, j + 4, j + 2, j + 1;
//  - exp is the polynomial of exp.h; multiply-adds are fused where Fma is written and nowhere else.
namespace thinkwire::worker::kernels {

// Runs f(first index, lanes) over n elements: lanes is 16 but for the last.
template <class F>
void ForLanes(std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) f(i, 16);
  if (i < n) f(i, static_cast<int>(n - i));
}

template <class L>
L LoadUpTo(const float* p, int n) {
  return n == 16 ? L::Load(p) : L::LoadFirst(p, n);
}
template <class L>
void StoreUpTo(const L& x, float* p, int n) {
  n == 16 ? x.Store(p) : x.StoreFirst(p, n);
}
template <class L>
L LoadBf16UpTo(const std::uint16_t* p, int n) {
  if (n == 16) return L::LoadBf16(p);
  std::uint16_t lanes[16] = {};
  for (int i = 0; i < n; ++i) lanes[i] = p[i];
  return L::LoadBf16(lanes);
}

template <class L>
float Sum(const L& x) {
  const L lanes[4] = {x, x, x, x};
  float sums[4];
  L::Sum4(lanes, sums);
  return sums[0];
}

template <class L>
float ExpOf(float x) {
  float y;
  Exp(L::Set(x)).StoreFirst(&y, 1);
  return y;
}

template <class L>
float SumSquares(const float* x, std::int64_t n) {
  L acc = L::Set(0.0F);
  ForLanes(n, [&](std::int64_t i, int lanes) {
    const L v = LoadUpTo<L>(x + i, lanes);
    acc = L::Fma(v, v, acc);
  });
  return Sum(acc);
}

template <class L>
void Scale(const float* x, float scale, const std::uint16_t* weight, float* out, std::int64_t n) {
  const L s = L::Set(scale);
  ForLanes(n, [&](std::int64_t i, int lanes) {
    const L v = L::Mul(LoadUpTo<L>(x + i, lanes), s);
    StoreUpTo(L::Mul(v, LoadBf16UpTo<L>(weight + i, lanes)), out + i, lanes);
  });
}

template <class L>
void Add(const float* x, float* sum, std::int64_t n) {
  ForLanes(n, [&](std::int64_t i, int lanes) {
    StoreUpTo(L::Add(LoadUpTo<L>(sum + i, lanes), LoadUpTo<L>(x + i, lanes)), sum + i, lanes);
  });
}

template <class L>
void WidenRow(const std::uint16_t* x, float* out, std::int64_t n) {
  ForLanes(n, [&](std::int64_t i, int lanes) {
    StoreUpTo(LoadBf16UpTo<L>(x + i, lanes), out + i, lanes);
  });
}

template <class L>
void WidenE4m3(const std::uint8_t* x, std::int64_t x_stride, std::int64_t rows, float* out) {
  for (std::int64_t r = 0; r < rows; ++r) L::FromE4m3(x + r * x_stride).Store(out + r * 16);
}

template <class L>
void SwiGlu(const float* gate, const float* up, float* out, std::int64_t n) {
  ForLanes(n, [&](std::int64_t i, int lanes) {
    const L z = LoadUpTo<L>(gate + i, lanes);
    const L denominator = L::Add(L::Set(1.0F), Exp(L::Sub(L::Set(0.0F), z)));
    const L silu = L::Div(z, denominator);
    StoreUpTo(L::Mul(silu, LoadUpTo<L>(up + i, lanes)), out + i, lanes);
  });
}

template <class L>
void Rotate(const float* x, const float* cosines, const float* sines, float* out, int half) {
  ForLanes(half, [&](std::int64_t i, int lanes) {
    const L c = LoadUpTo<L>(cosines + i, lanes);
    const L s = LoadUpTo<L>(sines + i, lanes);
    const L a = LoadUpTo<L>(x + i, lanes);
    const L b = LoadUpTo<L>(x + half + i, lanes);
    const L minus_b = L::Sub(L::Set(0.0F), b);
    StoreUpTo(L::Fma(minus_b, s, L::Mul(a, c)), out + i, lanes);
    StoreUpTo(L::Fma(a, s, L::Mul(b, c)), out + half + i, lanes);
  });
}

template <class L>
void ExpMinus(const float* x, float minus, float* out, std::int64_t n) {
  const L m = L::Set(minus);
  ForLanes(n, [&](std::int64_t i, int lanes) {
    StoreUpTo(Exp(L::Sub(LoadUpTo<L>(x + i, lanes), m)), out + i, lanes);
  });
}

template <class L>
void Divide(const float* x, float by, float* out, std::int64_t n) {
  const L d = L::Set(by);
  ForLanes(n, [&](std::int64_t i, int lanes) {
    StoreUpTo(L::Div(LoadUpTo<L>(x + i, lanes), d), out + i, lanes);
  });
}

}  // namespace thinkwire::worker::kernels
