#pragma once

#include <cstdint>

// Copies from global to shared memory that a thread asks for and awaits by itself (PTX ISA,
// "cp.async"), past the first cache. In groups: those asked for since the last EndCopies.
namespace thinkwire::worker::kernels {

// 16 bytes, both ends aligned to them; or zeros.
__device__ __forceinline__ void CopyPiece(std::uint32_t to, const void* from, bool is_there) {
  const int bytes = is_there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void CopyPiece(std::uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}
__device__ __forceinline__ void EndCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Returns once all groups but the last kLeft have come. Other threads' need a barrier beyond.
template <int kLeft>
__device__ __forceinline__ void AwaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

}  // namespace thinkwire::worker::kernels
