#include "worker/kernels/unpack_row.h"

#include "worker/kernels/check.h"
#include "worker/kernels/packed_blocks.h"

namespace thinkwire::worker::kernels {
namespace {

struct Baseline {};  // the instruction set that every machine has

template <class Block>
void UnpackBlocks(const std::uint8_t* row, std::int64_t elements, float* out) {
  typename CodesOf<Block>::type codes;
  for (std::int64_t at = 0; at < elements; at += Block::kElements, row += Block::kBytes) {
    Block::template Read<Baseline>(row, codes);
    for (int i = 0; i < Block::kElements; ++i) {
      out[at + i] = WeightOf<Baseline>(codes, i);
    }
  }
}

}  // namespace

void UnpackRow(Encoding encoding, const void* row, std::int64_t elements, float* out) {
  const BlockShape shape = BlockOf(encoding);
  Check(elements % shape.elements == 0, "a packed row is whole blocks");
  const auto* const bytes = static_cast<const std::uint8_t*>(row);
  const bool known = WithBlockType<Baseline>(encoding, [&](auto block) {
    using Block = decltype(block);
    Check(shape.elements == Block::kElements && shape.bytes == Block::kBytes,
          "blocks of one shape");
    UnpackBlocks<Block>(bytes, elements, out);
  });
  Check(known, "an encoding that is packed");
}

}  // namespace thinkwire::worker::kernels
