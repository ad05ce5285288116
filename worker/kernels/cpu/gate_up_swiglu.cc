#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/cpu/linear_loop.h"

// out = silu(gate) * up, gate and up the two canonical dot products of an output.
namespace thinkwire::worker::kernels {

void CpuBackend::GateUpSwiGlu(const Tensor& x, const LinearWeight& gate_up, const Tensor& out) {
  const CpuLinearWeight& w = CpuLinearWeight::From(gate_up);
  Check(w.layout() == LinearLayout::kGateUp, "GateUpSwiGlu takes a gate-up weight");
  const std::int64_t ffn = w.out_features() / 2;
  Check(out.dtype == DType::kF32 && out.size() == x.dim(0) * ffn, "the output is f32 [T, F]");
  float* const result = out.as<float>();
  const PaddedRows padded = Pad(x, w);
  ForEachLinearUnit(pool_, rows_, padded.data, padded.stride, x.dim(0), w, 2, unpacked_,
                    [&](std::int64_t unit, std::int64_t first, int tokens, float* sums) {
                      const std::int64_t row = unit * kPanelRows;
                      const int n = static_cast<int>(std::min<std::int64_t>(kPanelRows, ffn - row));
                      float* const up = sums + tokens * kPanelRows;
                      rows_.swiglu(sums, up, sums, tokens * kPanelRows);
                      for (int t = 0; t < tokens; ++t) {
                        for (int r = 0; r < n; ++r)
                          result[(first + t) * ffn + row + r] = sums[t * kPanelRows + r];
                      }
                    });
}

}  // namespace thinkwire::worker::kernels
