#include "worker/kernels/cpu/lanes_avx512.h"
#include "worker/kernels/cpu/row_kernels_table.h"

namespace thinkwire::worker::kernels {

const RowKernels& Avx512RowKernels() {
  static constexpr RowKernels kTable = MakeRowKernels<Avx512LanesOf<false>>();
  return kTable;
}

}  // namespace thinkwire::worker::kernels
