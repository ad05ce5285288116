#include "worker/kernels/cpu/lanes_avx512.h"
#include "worker/kernels/cpu/packed_kernel.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/unpack_kernel.h"

namespace thinkwire::worker::kernels {

// AVX-512's inner loops, but for those that round weights.
const RowKernels& Avx512Bf16RowKernels() {
  using Lanes = Avx512LanesOf<true>;
  static const RowKernels kTable = [] {
    RowKernels table = Avx512RowKernels();
    table.name = Lanes::kName;
    table.unpack_panel = UnpackPanel<Lanes>;
    table.packed_panel = MultiplyPacked<Lanes>;
    return table;
  }();
  return kTable;
}

}  // namespace thinkwire::worker::kernels
