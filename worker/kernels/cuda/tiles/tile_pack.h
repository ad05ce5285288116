#pragma once

#include <array>
#include <cstdint>

#include "worker/kernels/cuda/tiles/tile_layout.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {

using TileSources = std::array<StackedRow, kTileMatrixRows>;  // a null part is a row of zeros

// Writes a tile (tile_layout.h) of `columns` columns to `to`, TileBytes long and aligned to 4. Safe
// on any thread. REQUIRES: of kFp8 all rows are Encoding::kFp8; columns are in their own order.
void PackTile(TileFormat format, const TileSources& rows, std::int64_t columns, std::uint8_t* to);

}  // namespace thinkwire::worker::kernels
