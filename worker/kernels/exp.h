#pragma once

#include "worker/kernels/host_device.h"

namespace thinkwire::worker::kernels {

// The one exp of all devices and instruction sets, over lanes L of f32 (cpu/lanes_*.h,
// scalar_lane.h). No product is added but within Fma, so that a compiler that contracts changes
// nothing.
//
// e^x to 1.5 ulp; 0 below -87, e^88 above 88, NaN of NaN. Polynomial of Cephes' expf.
template <class L>
HOST_DEVICE L Exp(const L& x) {
  const L low = L::Set(-87.0F);
  const L clamped = L::Max(low, L::Min(L::Set(88.0F), x));
  const L shift = L::Set(12582912.0F);  // 1.5 * 2^23: the sum's low bits are round(x / ln 2)
  const L z = L::Fma(clamped, L::Set(1.44269504F), shift);
  const L n = L::Sub(z, shift);
  L r = L::Fma(n, L::Set(-0.693359375F), clamped);
  r = L::Fma(n, L::Set(2.12194440e-4F), r);
  L p = L::Set(1.9875691500e-4F);
  p = L::Fma(p, r, L::Set(1.3981999507e-3F));
  p = L::Fma(p, r, L::Set(8.3334519073e-3F));
  p = L::Fma(p, r, L::Set(4.1665795894e-2F));
  p = L::Fma(p, r, L::Set(1.6666665459e-1F));
  p = L::Fma(p, r, L::Set(5.0000001201e-1F));
  p = L::Add(L::Fma(p, L::Mul(r, r), r), L::Set(1.0F));
  return L::ZeroWhereLess(x, low, L::Mul(p, L::Pow2OfLowBits(z)));
}

}  // namespace thinkwire::worker::kernels
