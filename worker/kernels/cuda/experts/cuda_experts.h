#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/weight_upload.h"
#include "worker/kernels/cuda/tiles/tile_layout.h"
#include "worker/kernels/experts.h"

namespace thinkwire::worker::kernels {

// Experts' matrices in tiles (tile_layout.h), expert after expert: FP8 where all of them are, else
// bf16. Of gates and ups the rows are row_order.h's, so that a lane has both of a feature.
// Owns: the tiles.
class CudaExperts final : public ExpertWeights {
 public:
  // Takes the memory, which Set fills. REQUIRES: columns of both matrices in 16s, of FP8 in 128s;
  // `upload` outlives the last Set.
  CudaExperts(const ExpertShape& shape, WeightUpload& upload, cudaStream_t stream);

  // REQUIRES: a CudaBackend made them.
  static const CudaExperts& From(const ExpertWeights& experts);

  TileFormat format() const { return format_; }
  const void* gate_up() const { return gate_up_.data(); }  // tiles of [2 F, E] an expert
  const void* down() const { return down_.data(); }        // tiles of [E, F] an expert

  void Set(std::int64_t i, const ExpertSlices& slices) override;
  DeviceKind device() const override { return DeviceKind::kCuda; }
  const ExpertShape& shape() const override { return shape_; }
  std::size_t bytes() const override { return gate_up_.bytes() + down_.bytes(); }

 private:
  const ExpertShape shape_;
  const TileFormat format_;
  WeightUpload& upload_;
  const Buffer gate_up_;
  const Buffer down_;
};

}  // namespace thinkwire::worker::kernels
