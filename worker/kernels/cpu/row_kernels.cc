#include "worker/kernels/cpu/row_kernels.h"

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {

bool IsSupported(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case Isa::kAvx512Bf16:
      return IsSupported(Isa::kAvx512) && __builtin_cpu_supports("avx512bf16");
#endif
    default:
      return false;
  }
}

Isa BestIsa() {
  Isa best = Isa::kPortable;
  for (const Isa isa : kAllIsas) {
    if (IsSupported(isa)) best = isa;
  }
  return best;
}

const RowKernels& RowKernelsFor(Isa isa) {
  Check(IsSupported(isa), "this machine lacks the instruction set");
#if defined(__x86_64__)
  if (isa == Isa::kAvx512Bf16) return Avx512Bf16RowKernels();
  if (isa == Isa::kAvx512) return Avx512RowKernels();
  if (isa == Isa::kAvx2) return Avx2RowKernels();
#endif
  return PortableRowKernels();
}

}  // namespace thinkwire::worker::kernels
