#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/latents.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

class Backend;

// A weight for each matrix of each head. What is turned becomes bf16 if it is packed.
// Owns: the weights.
class CpuLatentHeads final : public LatentHeads {
 public:
  // As Backend::MakeLatentHeads; `backend` makes the weights.
  CpuLatentHeads(const WeightSlice& rows, const LatentShape& shape, Backend& backend);

  // REQUIRES: a CpuBackend made them.
  static const CpuLatentHeads& From(const LatentHeads& heads);

  const LinearWeight& absorb(std::int64_t head) const { return *At(head).absorb; }  // [C, P]
  const LinearWeight& value(std::int64_t head) const { return *At(head).value; }    // [U, C]

  DeviceKind device() const override { return DeviceKind::kCpu; }
  const LatentShape& shape() const override { return shape_; }
  std::size_t bytes() const override;

 private:
  struct Head {
    std::unique_ptr<LinearWeight> absorb;
    std::unique_ptr<LinearWeight> value;
  };
  const Head& At(std::int64_t head) const { return heads_[static_cast<std::size_t>(head)]; }

  const LatentShape shape_;
  std::vector<Head> heads_;
};

}  // namespace thinkwire::worker::kernels
