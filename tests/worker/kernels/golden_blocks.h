#pragma once

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "common/gguf.h"
#include "common/mapped_file.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

struct PackedFormat {
  Encoding encoding;
  const char* name;
};
void PrintTo(const PackedFormat& format, std::ostream* out);

// Every packed encoding.
std::span<const PackedFormat> PackedFormats();

// Random blocks and what gguf-py makes of them (tests/data/scripts/make_gguf_blocks.py).
class GoldenBlocks {
 public:
  GoldenBlocks();

  // Blocks of 1,280 weights.
  std::span<const std::byte> packed(const PackedFormat& format) const;
  // The weights, in float.
  std::vector<float> values(const PackedFormat& format) const;

  // A matrix [rows, cols] of these blocks, each row another choice of them.
  std::vector<std::byte> Matrix(const PackedFormat& format, std::int64_t rows,
                                std::int64_t cols) const;

 private:
  const GgufTensor& Find(const std::string& name) const;

  MappedFile file_;
  GgufContent content_;
};

}  // namespace thinkwire::worker::kernels
