#include "worker/kernels/write_group_block.h"

#include <cstring>

#include "worker/kernels/check.h"

namespace thinkwire::worker::kernels {
namespace {

// Two columns a byte, the even one's low. Returns where they end.
char* WritePairs(std::span<const std::uint8_t> q, char* out) {
  for (std::size_t i = 0; i < q.size(); i += 2) {
    *out++ = static_cast<char>(q[i] | q[i + 1] << 4);
  }
  return out;
}

void WriteBytesOf(std::uint32_t word, int bytes, char* out) {
  for (int i = 0; i < bytes; ++i) out[i] = static_cast<char>(word >> (8 * i));
}

}  // namespace

void WriteGroupBlock(Encoding encoding, std::span<const std::uint8_t> q, std::uint32_t zero,
                     float scale, char* out) {
  Check(static_cast<std::int64_t>(q.size()) == BlockOf(encoding).elements, "a block's columns");
  switch (encoding) {
    case Encoding::kInt4: {
      const std::uint32_t word = Int4ScaleWord(scale, zero);
      std::memcpy(WritePairs(q, out), &word, sizeof(word));
      return;
    }
    case Encoding::kInt4G64:
    case Encoding::kInt4G32:
      return WriteBytesOf(GroupWord(scale, zero, kInt4ZeroWidth), kInt4WordBytes,
                          WritePairs(q, out));
    case Encoding::kInt8:
    case Encoding::kInt8G64:
    case Encoding::kInt8G32:
      std::memcpy(out, q.data(), q.size());
      return WriteBytesOf(GroupWord(scale, zero, kInt8ZeroWidth), kInt8WordBytes, out + q.size());
    case Encoding::kFp8:
      std::memcpy(out, q.data(), q.size());
      std::memcpy(out + q.size(), &scale, sizeof(scale));
      return;
    default:
      Check(false, "an encoding of groups");
  }
}

}  // namespace thinkwire::worker::kernels
