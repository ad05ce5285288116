#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/weight_upload.h"
#include "worker/kernels/latents.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// A matrix [rows, columns] of each head in tiles of bf16 (tile_layout.h), head after head.
struct HeadMatrices {
  Buffer tiles;
  std::int64_t rows = 0;     // of one head, in 16s
  std::int64_t columns = 0;  // likewise
};

// The heads' matrices on the GPU, bf16 whatever they were: what is turned has no blocks of columns
// any more, and both are small beside the rest of a layer.
// Owns: the matrices.
class CudaLatentHeads final : public LatentHeads {
 public:
  // As Backend::MakeLatentHeads. Done on return.
  CudaLatentHeads(const WeightSlice& rows, const LatentShape& shape, WeightUpload& upload);

  // REQUIRES: a CudaBackend made them.
  static const CudaLatentHeads& From(const LatentHeads& heads);

  const HeadMatrices& absorb() const { return absorb_; }  // [C, P]
  const HeadMatrices& value() const { return value_; }    // [U, C]

  DeviceKind device() const override { return DeviceKind::kCuda; }
  const LatentShape& shape() const override { return shape_; }
  std::size_t bytes() const override { return absorb_.tiles.bytes() + value_.tiles.bytes(); }

 private:
  const LatentShape shape_;
  HeadMatrices absorb_;
  HeadMatrices value_;
};

}  // namespace thinkwire::worker::kernels
