#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// The tensor-core step that every product is a chain of: D = A B + D with A bf16 [16, 16], B bf16
// [16, 8], D f32 [16, 8], and the loads that bring its fragments from shared memory (PTX ISA,
// "Matrix fragments for mma.m16n8k16"). In a warp, lane = 4 g + t: A's registers hold rows g, g + 8
// and columns 2t, 2t + 1 (+ 8), D's hold rows g (0, 1) and g + 8 (2, 3), columns 2t and 2t + 1.
namespace thinkwire::worker::kernels {

struct FragmentA {
  std::uint32_t r[4];
};
struct FragmentB {
  std::uint32_t r[2];
};

__device__ __forceinline__ void Mma(float (&d)[4], const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}

// Four 8 x 8 matrices of bf16; lane l gives the shared address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void LoadMatrices(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

}  // namespace thinkwire::worker::kernels
