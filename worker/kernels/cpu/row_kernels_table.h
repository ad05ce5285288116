#pragma once

#include "worker/kernels/cpu/attention_kernel.h"
#include "worker/kernels/cpu/linear_kernel.h"
#include "worker/kernels/cpu/packed_kernel.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/row_kernels_impl.h"
#include "worker/kernels/cpu/unpack_kernel.h"

namespace thinkwire::worker::kernels {

// The inner loops over L. Instantiated in one source file for each instruction set, compiled for
// that set. Such a file includes nothing that other files might share as an inline function: the
// linker could keep the wide copy for all.
template <class L>
constexpr RowKernels MakeRowKernels() {
  return RowKernels{.name = L::kName,
                    .linear_panel = LinearPanel<L>,
                    .unpack_panel = UnpackPanel<L>,
                    .packed_panel = MultiplyPacked<L>,
                    .sum_squares = SumSquares<L>,
                    .scale = Scale<L>,
                    .add = Add<L>,
                    .widen = WidenRow<L>,
                    .widen_e4m3 = WidenE4m3<L>,
                    .swiglu = SwiGlu<L>,
                    .rotate = Rotate<L>,
                    .exp_minus = ExpMinus<L>,
                    .divide = Divide<L>,
                    .attend = Attend<L>,
                    .merge = MergeSegments<L>};
}

}  // namespace thinkwire::worker::kernels
