#include "worker/kernels/cuda/experts/cuda_experts.h"

#include <span>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/device_memory.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/tiles/tile_pack.h"

namespace thinkwire::worker::kernels {
namespace {

std::int64_t TilesOf(std::int64_t rows) { return rows / kTileMatrixRows; }

Buffer MakeTiles(const ExpertShape& shape, std::int64_t rows, std::int64_t columns,
                 TileFormat format, cudaStream_t stream) {
  Check(rows % kTileMatrixRows == 0 && columns % kTileStep == 0,
        "an expert's matrices are whole tiles");
  return AllocateOnDevice(
      static_cast<std::size_t>(shape.count * TilesOf(rows) * TileBytes(format, columns)), stream);
}

TileFormat FormatOf(const ExpertShape& shape) {
  return shape.encoding == Encoding::kFp8 ? TileFormat::kFp8 : TileFormat::kBf16;
}

// Expert i's matrix to its place among `tiles`.
void Upload(const Buffer& tiles, std::int64_t i, std::span<const WeightSlice> parts,
            LinearLayout layout, TileFormat format, WeightUpload& upload) {
  const LinearShape shape = CheckedLinearShape(parts, {}, layout);
  const std::int64_t bytes = TileBytes(format, shape.in);
  auto* const to = static_cast<std::byte*>(tiles.data()) + i * TilesOf(shape.out) * bytes;
  upload.Fill(to, TilesOf(shape.out), bytes / 2, [&](std::int64_t tile, std::uint16_t* packed) {
    TileSources sources;
    for (std::int64_t r = 0; r < kTileMatrixRows; ++r) {
      const std::int64_t row = tile * kTileMatrixRows + r;
      const bool is_gate_up = layout == LinearLayout::kGateUp;
      sources[static_cast<std::size_t>(r)] =
          FindRow(parts, is_gate_up ? GateUpRow(row, shape.out) : row);
    }
    PackTile(format, sources, shape.in, reinterpret_cast<std::uint8_t*>(packed));
  });
}

}  // namespace

CudaExperts::CudaExperts(const ExpertShape& shape, WeightUpload& upload, cudaStream_t stream)
    : shape_(shape),
      format_(FormatOf(shape)),
      upload_(upload),
      gate_up_(MakeTiles(shape, 2 * shape.ffn, shape.hidden, format_, stream)),
      down_(MakeTiles(shape, shape.hidden, shape.ffn, format_, stream)) {}

const CudaExperts& CudaExperts::From(const ExpertWeights& experts) {
  Check(experts.device() == DeviceKind::kCuda, "experts that a GPU's backend made");
  return static_cast<const CudaExperts&>(experts);
}

void CudaExperts::Set(std::int64_t i, const ExpertSlices& slices) {
  Check(i >= 0 && i < shape_.count, "an expert that there is room for");
  Check(slices.gate.rows == shape_.ffn && slices.gate.cols == shape_.hidden &&
            slices.down.rows == shape_.hidden && slices.down.cols == shape_.ffn,
        "experts of one shape");
  const WeightSlice both[] = {slices.gate, slices.up};
  Upload(gate_up_, i, both, LinearLayout::kGateUp, format_, upload_);
  Upload(down_, i, {&slices.down, 1}, LinearLayout::kPlain, format_, upload_);
}

}  // namespace thinkwire::worker::kernels
