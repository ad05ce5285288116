#pragma once

#include <cuda.h>

#include <cstdint>

namespace thinkwire::worker::kernels {

// How the copy engine reads boxes [box_rows, box_columns] of a row-major bf16 matrix [rows,
// columns]: rows of 128 bytes swizzled by 16-byte pieces (piece p of row r at p ^ (r & 7)), zeros
// beyond the matrix. REQUIRES: data aligned to 16 bytes, columns a multiple of 8, box_columns 64,
// box_rows <= 256. The L2 cache asks DRAM for `lines` lines of 128 bytes at a time, 1 or 2: an H200
// gives a long stream of weights at 4.6 TB/s by one line and at 4.2 by two.
CUtensorMap MakeRowMap(const void* data, std::int64_t rows, std::int64_t columns, int box_columns,
                       int box_rows, int lines = 1);

// The same matrix as boxes of 64 columns beside each other: a copy takes `boxes` of them at once,
// each of box_rows rows. Dimensions: column in a box, row, box. REQUIRES:
// columns in 64s.
CUtensorMap MakeBoxesMap(const void* data, std::int64_t rows, std::int64_t columns, int box_rows,
                         int boxes, int lines = 1);

// The same as MakeRowMap without a swizzle, two lines at a time: pieces stay where they are.
CUtensorMap MakePlainRowMap(const void* data, std::int64_t rows, std::int64_t columns,
                            int box_columns, int box_rows);

}  // namespace thinkwire::worker::kernels
