#include "worker/kernels/cpu/cpu_latent_heads.h"

#include "worker/kernels/backend.h"
#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/latent_rows.h"

namespace thinkwire::worker::kernels {
namespace {

std::unique_ptr<LinearWeight> MakeTurned(const WeightSlice& slice, Backend& backend) {
  const std::vector<std::uint16_t> turned = Turned(slice);
  const WeightSlice whole = {.data = turned.data(),
                             .encoding = Encoding::kBf16,
                             .rows = slice.cols,
                             .cols = slice.rows,
                             .row_stride = slice.rows};
  return backend.MakeLinear({&whole, 1}, {}, LinearLayout::kPlain);
}

}  // namespace

CpuLatentHeads::CpuLatentHeads(const WeightSlice& rows, const LatentShape& shape, Backend& backend)
    : shape_(shape) {
  CheckLatentRows(rows, shape);
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    const WeightSlice value = ValueRows(rows, shape, h);
    heads_.push_back({MakeTurned(PlainRows(rows, shape, h), backend),
                      backend.MakeLinear({&value, 1}, {}, LinearLayout::kPlain)});
  }
}

const CpuLatentHeads& CpuLatentHeads::From(const LatentHeads& heads) {
  Check(heads.device() == DeviceKind::kCpu, "heads that a CPU's backend made");
  return static_cast<const CpuLatentHeads&>(heads);
}

std::size_t CpuLatentHeads::bytes() const {
  std::size_t bytes = 0;
  for (const Head& head : heads_) bytes += head.absorb->bytes() + head.value->bytes();
  return bytes;
}

std::unique_ptr<LatentHeads> CpuBackend::MakeLatentHeads(const WeightSlice& rows,
                                                         const LatentShape& shape) {
  return std::make_unique<CpuLatentHeads>(rows, shape, *this);
}

}  // namespace thinkwire::worker::kernels
