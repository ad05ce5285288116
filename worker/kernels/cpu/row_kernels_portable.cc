#include "worker/kernels/cpu/lanes_portable.h"
#include "worker/kernels/cpu/row_kernels_table.h"

namespace thinkwire::worker::kernels {

const RowKernels& PortableRowKernels() {
  static constexpr RowKernels kTable = MakeRowKernels<PortableLanes>();
  return kTable;
}

}  // namespace thinkwire::worker::kernels
