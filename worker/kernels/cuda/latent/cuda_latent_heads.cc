#include "worker/kernels/cuda/latent/cuda_latent_heads.h"

#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/tiles/tile_pack.h"
#include "worker/kernels/latent_rows.h"

namespace thinkwire::worker::kernels {
namespace {

// Heads' matrices of one shape as slices of bf16 in host memory.
HeadMatrices Upload(const std::vector<WeightSlice>& heads, WeightUpload& upload) {
  HeadMatrices matrices = {.tiles = {}, .rows = heads[0].rows, .columns = heads[0].cols};
  Check(matrices.rows % kTileMatrixRows == 0 && matrices.columns % kTileStep == 0,
        "a head's matrices are whole tiles");
  const std::int64_t tiles = matrices.rows / kTileMatrixRows;
  const std::int64_t bytes = TileBytes(TileFormat::kBf16, matrices.columns);
  matrices.tiles =
      upload.Run(std::ssize(heads) * tiles, bytes / 2, [&](std::int64_t tile, std::uint16_t* to) {
        const WeightSlice& head = heads[static_cast<std::size_t>(tile / tiles)];
        TileSources sources;
        for (std::int64_t r = 0; r < kTileMatrixRows; ++r) {
          sources[static_cast<std::size_t>(r)] = {&head, tile % tiles * kTileMatrixRows + r};
        }
        PackTile(TileFormat::kBf16, sources, head.cols, reinterpret_cast<std::uint8_t*>(to));
      });
  return matrices;
}

HeadMatrices UploadTurned(const WeightSlice& rows, const LatentShape& shape, WeightUpload& upload) {
  std::vector<std::vector<std::uint16_t>> turned;
  std::vector<WeightSlice> heads;
  for (std::int64_t h = 0; h < shape.heads; ++h) {
    turned.push_back(Turned(PlainRows(rows, shape, h)));
    heads.push_back({.data = turned.back().data(),
                     .encoding = Encoding::kBf16,
                     .rows = shape.latent,
                     .cols = shape.plain,
                     .row_stride = shape.plain});
  }
  return Upload(heads, upload);
}

HeadMatrices UploadValues(const WeightSlice& rows, const LatentShape& shape, WeightUpload& upload) {
  std::vector<WeightSlice> heads;
  for (std::int64_t h = 0; h < shape.heads; ++h) heads.push_back(ValueRows(rows, shape, h));
  return Upload(heads, upload);
}

}  // namespace

CudaLatentHeads::CudaLatentHeads(const WeightSlice& rows, const LatentShape& shape,
                                 WeightUpload& upload)
    : shape_(shape) {
  CheckLatentRows(rows, shape);
  Check(shape.latent == kLatentWidth && shape.rotated == kLatentRotated,
        "latents are of 512, and of a key 64 rotate");
  absorb_ = UploadTurned(rows, shape, upload);
  value_ = UploadValues(rows, shape, upload);
}

const CudaLatentHeads& CudaLatentHeads::From(const LatentHeads& heads) {
  Check(heads.device() == DeviceKind::kCuda, "heads that a GPU's backend made");
  return static_cast<const CudaLatentHeads&>(heads);
}

}  // namespace thinkwire::worker::kernels
