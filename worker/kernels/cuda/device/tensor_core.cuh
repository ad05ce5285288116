#pragma once

#include <cstdint>

// The tensor-core step that every sum of products is a chain of: C = A B + C with A bf16 [16, 16],
// B bf16 [16, 8] and C f32 [16, 8], and the loads that bring its fragments from shared memory (PTX
// ISA, "Matrix fragments for mma.m16n8k16"). With g = lane / 4 and t = lane % 4 a lane holds
//   A   a[0]: row g, k 2t, 2t+1   a[1]: row g+8   a[2], a[3]: the same, k + 8
//   B   b0: k 2t, 2t+1, column g  b1: k + 8
//   C   c[0], c[1]: row g, columns 2t, 2t+1       c[2], c[3]: row g+8
namespace thinkwire::worker::kernels {

__device__ __forceinline__ void Mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                    std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices whose rows are 16 bytes of shared memory; lane i names row i % 8 of matrix
// i / 8. Volatile and clobbering, so that none moves over a barrier.
__device__ __forceinline__ void LoadMatrices(std::uint32_t address, std::uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void LoadTransposed(std::uint32_t address, std::uint32_t (&r)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

}  // namespace thinkwire::worker::kernels
