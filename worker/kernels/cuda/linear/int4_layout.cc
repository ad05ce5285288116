#include "worker/kernels/cuda/linear/int4_layout.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kSteps = kInt4Columns / 16;
constexpr int kLanes = 32;
using Rows = std::span<const char* const>;

std::uint32_t ValueOf(const char* row, std::int64_t column) {
  return row == nullptr ? 0U : Int4Block(row, column / kInt4Columns).value(column % kInt4Columns);
}

// A lane's word of the k16 step that begins at `column`.
std::uint32_t PackWord(Rows rows, std::int64_t column, int lane) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    const char* const row = rows[static_cast<std::size_t>(lane / 4 + 8 * (i & 1))];
    const std::int64_t at = column + 2 * (lane % 4) + 8 * (i >> 1);
    word |= ValueOf(row, at) << (4 * i) | ValueOf(row, at + 1) << (16 + 4 * i);
  }
  return word;
}

// A strip's block that begins at `column`.
void PackBlock(Rows rows, std::int64_t column, std::uint32_t* to) {
  for (int step = 0; step < kSteps; ++step) {
    for (int lane = 0; lane < kLanes; ++lane) {
      to[step / 4 * 4 * kLanes + lane * 4 + step % 4] = PackWord(rows, column + 16 * step, lane);
    }
  }
  to += kSteps * kLanes;
  for (std::size_t row = 0; row < kInt4StripRows; ++row) {
    to[row % 8 * 2 + row / 8] =
        rows[row] == nullptr ? 0U : Int4Block(rows[row], column / kInt4Columns).scale_word();
  }
}

}  // namespace

void PackInt4Tile(std::span<const char* const> rows, std::int64_t columns, std::uint32_t* to) {
  for (std::int64_t column = 0; column < columns; column += kInt4Columns) {
    for (std::size_t strip = 0; strip < kInt4TileStrips; ++strip) {
      PackBlock(rows.subspan(strip * kInt4StripRows, kInt4StripRows), column, to);
      to += kInt4StripBytes / 4;
    }
  }
}

}  // namespace thinkwire::worker::kernels
