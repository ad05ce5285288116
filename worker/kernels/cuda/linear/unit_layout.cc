#include "worker/kernels/cuda/linear/unit_layout.h"

#include <cstring>

#include "worker/kernels/check.h"
#include "worker/kernels/packed_blocks.h"
#include "worker/kernels/unit_bytes.h"

namespace thinkwire::worker::kernels {
namespace {

struct Baseline {};  // the instruction set that every machine has

constexpr std::int64_t kUnitElements = kInt4UnitRows * kUnitColumns;
static_assert(UnitBytes(UnitFormat::kQ4K) == UnitBytesOf(Encoding::kQ4K, kUnitElements));
static_assert(UnitBytes(UnitFormat::kQ5K) == UnitBytesOf(Encoding::kQ5K, kUnitElements));
static_assert(UnitBytes(UnitFormat::kQ6K) == UnitBytesOf(Encoding::kQ6K, kUnitElements));
static_assert(UnitBytes(UnitFormat::kQ8_0) == UnitBytesOf(Encoding::kQ8_0, kUnitElements));
static_assert(UnitBytes(UnitFormat::kFp8) == UnitBytesOf(Encoding::kFp8, kUnitElements));

constexpr int kLanes = 4;  // of a row
constexpr int kPairs = 4;  // of a word of nibbles

// A row's 128 columns of a block: q unsigned, and bytes of its scales.
struct RowBlock {
  std::uint8_t q[kUnitColumns];
  std::uint8_t groups[8];
  std::uint8_t row[4];
};

template <class Block>
void ReadHalf(const std::uint8_t* row, std::int64_t at, int zero, RowBlock& out) {
  BlockCodes<256> codes;
  Block::template Read<Baseline>(row + at / 2 * Block::kBytes, codes);
  for (int i = 0; i < kUnitColumns; ++i) {
    out.q[i] = static_cast<std::uint8_t>(codes.q[at % 2 * kUnitColumns + i] + zero);
  }
}

// d, dmin, then scales and mins of eight groups of 32.
void ReadMinGroups(const std::uint8_t* block, std::int64_t half, RowBlock& out) {
  std::uint8_t scales[8];
  std::uint8_t mins[8];
  ReadSixBits<Baseline>(block + 4, scales, mins);
  for (int g = 0; g < 4; ++g) {
    out.groups[g / 2 * 4 + g % 2] = scales[half * 4 + g];
    out.groups[g / 2 * 4 + 2 + g % 2] = mins[half * 4 + g];
  }
  std::memcpy(out.row, block, 4);
}

void ReadQ6K(const std::uint8_t* row, std::int64_t at, RowBlock& out) {
  ReadHalf<Q6KBlock>(row, at, 32, out);
  const std::uint8_t* const block = row + at / 2 * Q6KBlock::kBytes;
  for (int g = 0; g < 8; ++g) out.groups[g] = block[192 + at % 2 * 8 + g] ^ 0x80;
  std::memcpy(out.row, block + 208, 2);
}

void ReadQ8_0(const std::uint8_t* row, std::int64_t at, RowBlock& out) {
  const std::uint8_t* block = row + at * 4 * Q8_0Block::kBytes;
  for (int g = 0; g < 4; ++g, block += Q8_0Block::kBytes) {
    std::memcpy(out.groups + 2 * g, block, 2);
    for (int i = 0; i < 32; ++i) out.q[32 * g + i] = block[2 + i] ^ 0x80;
  }
}

void ReadFp8(const std::uint8_t* row, std::int64_t at, RowBlock& out) {
  static_assert(kFp8Columns == kUnitColumns);
  const std::uint8_t* const block = row + at * kFp8PackedBytes;
  std::memcpy(out.q, block, kFp8Columns);
  std::memcpy(out.row, block + kFp8Columns, 4);
}

// Block `at` of 128 columns of a row.
RowBlock ReadRow(UnitFormat format, const char* row, std::int64_t at) {
  RowBlock out = {};
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(row);
  switch (format) {
    case UnitFormat::kQ4K:
      ReadHalf<Q4KBlock>(bytes, at, 0, out);
      ReadMinGroups(bytes + at / 2 * Q4KBlock::kBytes, at % 2, out);
      return out;
    case UnitFormat::kQ5K:
      ReadHalf<Q5KBlock>(bytes, at, 0, out);
      ReadMinGroups(bytes + at / 2 * Q5KBlock::kBytes, at % 2, out);
      return out;
    case UnitFormat::kQ6K:
      ReadQ6K(bytes, at, out);
      return out;
    case UnitFormat::kQ8_0:
      ReadQ8_0(bytes, at, out);
      return out;
    case UnitFormat::kFp8:
      ReadFp8(bytes, at, out);
      return out;
  }
  return out;
}

// `bits` of the even and the odd column of pair `pair` of word `word` of lane t, shifted down by
// `shift`: in the lower and the upper half.
std::uint32_t PairOf(const RowBlock& row, int t, int word, int pair, int shift, unsigned bits) {
  const int column = 32 * word + 8 * pair + 2 * t;
  const std::uint32_t mask = (1U << bits) - 1U;
  return (row.q[column] >> shift & mask) | (row.q[column + 1] >> shift & mask) << 16;
}

std::uint32_t NibbleWord(const RowBlock& row, int t, int word) {
  std::uint32_t packed = 0;
  for (int p = 0; p < kPairs; ++p) packed |= PairOf(row, t, word, p, 0, 4) << (4 * p);
  return packed;
}

// The bits above a nibble, `bits` a number, of the words [first, last): those of a word's first
// pair above nibbles at 0, of its second above nibbles at 4, of the others the same once the bytes
// of each half are swapped; of each next word further up by `bits`.
std::uint32_t UpperWord(const RowBlock& row, int t, int first, int last, int bits) {
  const int places[kPairs] = {4, 8, 12, 0};
  std::uint32_t packed = 0;
  for (int word = first; word < last; ++word) {
    for (int p = 0; p < kPairs; ++p) {
      const int place = places[p] + bits * (word - first);
      packed |= PairOf(row, t, word, p, 4, static_cast<unsigned>(bits)) << place;
    }
  }
  return packed;
}

void Store(std::uint32_t word, std::uint8_t* to) { std::memcpy(to, &word, sizeof(word)); }

void PackBytes(const RowBlock& row, int g, std::uint8_t* unit) {
  for (int t = 0; t < kLanes; ++t) {
    for (int step = 0; step < 8; ++step) {
      const std::uint8_t* const q = row.q + 16 * step + 2 * t;
      const std::uint8_t bytes[4] = {q[0], q[1], q[8], q[9]};
      std::memcpy(unit + step / 4 * 512 + (kLanes * g + t) * 16 + step % 4 * 4, bytes, 4);
    }
  }
}

void PackBits(UnitFormat format, const RowBlock& row, int g, std::uint8_t* unit) {
  std::uint8_t* const upper = unit + PlacesOf(format).upper;
  for (int t = 0; t < kLanes; ++t) {
    const int lane = kLanes * g + t;
    for (int j = 0; j < 4; ++j) Store(NibbleWord(row, t, j), unit + lane * 16 + j * 4);
    if (format == UnitFormat::kQ5K) Store(UpperWord(row, t, 0, 4, 1), upper + lane * 4);
    if (format != UnitFormat::kQ6K) continue;
    for (int h = 0; h < 2; ++h) {
      Store(UpperWord(row, t, 2 * h, 2 * h + 2, 2), upper + lane * 8 + h * 4);
    }
  }
}

void PackRow(UnitFormat format, const RowBlock& row, int g, std::uint8_t* unit) {
  const UnitPlaces places = PlacesOf(format);
  if (format == UnitFormat::kQ8_0 || format == UnitFormat::kFp8) {
    PackBytes(row, g, unit);
  } else {
    PackBits(format, row, g, unit);
  }
  const int row_bytes = (places.end - places.rows) / kInt4UnitRows;
  if (places.rows > places.groups) std::memcpy(unit + places.groups + 8 * g, row.groups, 8);
  std::memcpy(unit + places.rows + row_bytes * g, row.row, static_cast<std::size_t>(row_bytes));
}

}  // namespace

void PackUnitTile(UnitFormat format, std::span<const char* const> rows, std::int64_t columns,
                  Int4Tiling tiling, std::uint8_t* to) {
  std::memset(to, 0, static_cast<std::size_t>(UnitTileBytes(format, columns, tiling)));
  for (std::int64_t at = 0; at < columns / kUnitColumns; ++at) {
    for (int unit = 0; unit < Int4TileUnits(tiling); ++unit) {
      for (int g = 0; g < kInt4UnitRows; ++g) {
        const char* const row = rows[static_cast<std::size_t>(Int4UnitRow(unit, g, tiling))];
        if (row != nullptr) PackRow(format, ReadRow(format, row, at), g, to);
      }
      to += UnitBytes(format);
    }
  }
}

}  // namespace thinkwire::worker::kernels
