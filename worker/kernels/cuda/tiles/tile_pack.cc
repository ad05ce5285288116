#include "worker/kernels/cuda/tiles/tile_pack.h"

#include <cstring>
#include <vector>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kLanes = 32;
constexpr int kHalf = 8;

void PackBf16(const TileSources& rows, std::int64_t columns, std::uint8_t* to) {
  std::vector<std::uint16_t> values(static_cast<std::size_t>(kTileMatrixRows * columns));
  for (std::int64_t r = 0; r < kTileMatrixRows; ++r) {
    const StackedRow& row = rows[static_cast<std::size_t>(r)];
    if (row.part != nullptr) ConvertRow(row, values.data() + r * columns);
  }
  for (std::int64_t step = 0; step < columns; step += kTileStep) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint16_t* const low = values.data() + lane / 4 * columns + step + lane % 4 * 4;
      const std::uint16_t* const high = low + kHalf * columns;
      for (const std::uint16_t* pair : {low, high, low + 2, high + 2}) {
        std::memcpy(to, pair, 4);
        to += 4;
      }
    }
  }
}

// A row's block of 128 columns, or zeros.
const std::uint8_t* BlockAt(const StackedRow& row, std::int64_t block) {
  static constexpr std::uint8_t kZeros[kFp8PackedBytes] = {};
  if (row.part == nullptr) return kZeros;
  return reinterpret_cast<const std::uint8_t*>(row.part->row(row.row)) + block * kFp8PackedBytes;
}

void PackFp8Block(const TileSources& rows, std::int64_t block, std::uint8_t* to) {
  std::array<const std::uint8_t*, kTileMatrixRows> codes;
  for (std::size_t r = 0; r < codes.size(); ++r) codes[r] = BlockAt(rows[r], block);
  for (int piece = 0; piece < 4; ++piece) {
    for (int lane = 0; lane < kLanes; ++lane) {
      for (int step = 2 * piece; step < 2 * piece + 2; ++step) {
        const int column = step * kTileStep + lane % 4 * 4;
        std::memcpy(to, codes[static_cast<std::size_t>(lane / 4)] + column, 4);
        std::memcpy(to + 4, codes[static_cast<std::size_t>(lane / 4 + kHalf)] + column, 4);
        to += 8;
      }
    }
  }
  for (const std::uint8_t* of_row : codes) {
    std::memcpy(to, of_row + kFp8Columns, 4);
    to += 4;
  }
}

}  // namespace

void PackTile(TileFormat format, const TileSources& rows, std::int64_t columns, std::uint8_t* to) {
  for (const StackedRow& row : rows) {
    Check(row.part == nullptr || (row.part->order == nullptr && row.part->cols == columns),
          "rows of a tile have its columns in their own order");
  }
  if (format == TileFormat::kBf16) return PackBf16(rows, columns, to);
  for (std::int64_t block = 0; block < columns / kFp8Columns; ++block) {
    PackFp8Block(rows, block, to + block * kFp8TileBytes);
  }
}

}  // namespace thinkwire::worker::kernels
