#include "worker/kernels/cpu/lanes_avx2.h"
#include "worker/kernels/cpu/row_kernels_table.h"

namespace thinkwire::worker::kernels {

const RowKernels& Avx2RowKernels() {
  static constexpr RowKernels kTable = MakeRowKernels<Avx2Lanes>();
  return kTable;
}

}  // namespace thinkwire::worker::kernels
