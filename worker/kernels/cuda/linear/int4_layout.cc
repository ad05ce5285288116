#include "worker/kernels/cuda/linear/int4_layout.h"

#include <bit>

namespace thinkwire::worker::kernels {
namespace {

constexpr int kLanes = 32;
constexpr int kWords = 4;  // a lane's
constexpr std::uint32_t kUpperHalf = 0xFFFF0000U;
constexpr std::uint32_t kRestBits = 0xFFE0U;  // of the three that an f16 has beyond a bf16's
using Rows = std::span<const char* const>;

// q - 7.5 in bits 4 .. 6 and 15.
std::uint32_t SignedCode(std::uint32_t q) { return q < 8 ? 0x8000U | (7 - q) << 4 : (q - 8) << 4; }

// Pairs at `column` and 8 columns on: the half of a word that is used before it is rotated.
std::uint32_t PackStep(const Int4Block& block, int column) {
  return block.value(column) | block.value(column + 1) << 16 | SignedCode(block.value(column + 8)) |
         SignedCode(block.value(column + 9)) << 16;
}

std::uint32_t PackWord(const Int4Block& block, int column) {
  return PackStep(block, column) | std::rotl(PackStep(block, column + 16), 8);
}

std::uint32_t PackScale(std::uint32_t word) {
  const float scale = 64 * std::bit_cast<float>(word & kInt4ScaleBits);
  const std::uint32_t upper = std::bit_cast<std::uint32_t>(scale) & kUpperHalf;
  const float rest = scale - std::bit_cast<float>(upper);
  return upper | (std::bit_cast<std::uint32_t>(rest) >> 16 & kRestBits) | (word & kInt4ZeroBits);
}

// Block `at` of a unit whose row g is row_of(g).
template <class RowOf>
void PackUnit(const RowOf& row_of, std::int64_t at, std::uint32_t* to) {
  for (int g = 0; g < kInt4UnitRows; ++g) {
    const char* const row = row_of(g);
    const bool is_there = row != nullptr;
    for (int t = 0; t < 4; ++t) {
      for (int j = 0; j < kWords; ++j) {
        to[(4 * g + t) * kWords + j] = is_there ? PackWord(Int4Block(row, at), 32 * j + 2 * t) : 0U;
      }
    }
    to[kLanes * kWords + g] = is_there ? PackScale(Int4Block(row, at).scale_word()) : 0U;
  }
}

}  // namespace

Int4Tiling ChooseInt4Tiling(std::int64_t rows, int num_sms) {
  const bool all_at_once = Int4Tiles(rows, Int4Tiling::kNarrow) <= num_sms;
  return all_at_once ? Int4Tiling::kNarrow : Int4Tiling::kWide;
}

void PackInt4Tile(Rows rows, std::int64_t columns, Int4Tiling tiling, std::uint32_t* to) {
  for (std::int64_t at = 0; at < columns / kInt4Columns; ++at) {
    for (int unit = 0; unit < Int4TileUnits(tiling); ++unit) {
      const auto row_of = [&](int g) {
        return rows[static_cast<std::size_t>(Int4UnitRow(unit, g, tiling))];
      };
      PackUnit(row_of, at, to);
      to += kInt4UnitBytes / 4;
    }
  }
}

}  // namespace thinkwire::worker::kernels
