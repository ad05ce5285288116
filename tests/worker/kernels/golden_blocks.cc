#include "tests/worker/kernels/golden_blocks.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr PackedFormat kFormats[] = {
    {Encoding::kQ4_0, "q4_0"}, {Encoding::kQ4_1, "q4_1"},    {Encoding::kQ5_0, "q5_0"},
    {Encoding::kQ5_1, "q5_1"}, {Encoding::kQ8_0, "q8_0"},    {Encoding::kQ2K, "q2_k"},
    {Encoding::kQ3K, "q3_k"},  {Encoding::kQ4K, "q4_k"},     {Encoding::kQ5K, "q5_k"},
    {Encoding::kQ6K, "q6_k"},  {Encoding::kIq4Nl, "iq4_nl"}, {Encoding::kIq4Xs, "iq4_xs"},
};

}  // namespace

void PrintTo(const PackedFormat& format, std::ostream* out) { *out << format.name; }

std::span<const PackedFormat> PackedFormats() { return kFormats; }

GoldenBlocks::GoldenBlocks()
    : file_(*MappedFile::Open("tests/data/gguf_blocks.gguf")),
      content_(*ParseGguf({file_.data(), file_.size()}, file_.path())) {}

const GgufTensor& GoldenBlocks::Find(const std::string& name) const {
  const auto found =
      std::find_if(content_.tensors.begin(), content_.tensors.end(),
                   [&name](const GgufTensor& tensor) { return tensor.name == name; });
  CHECK(found != content_.tensors.end(), "the script writes every format");
  return *found;
}

std::span<const std::byte> GoldenBlocks::packed(const PackedFormat& format) const {
  return Find(format.name).bytes;
}

std::vector<float> GoldenBlocks::values(const PackedFormat& format) const {
  const GgufTensor& tensor = Find(std::string(format.name) + ".f32");
  std::vector<float> values(tensor.bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

std::vector<std::byte> GoldenBlocks::Matrix(const PackedFormat& format, std::int64_t rows,
                                            std::int64_t cols) const {
  const std::span<const std::byte> blocks = packed(format);
  const auto [elements, size] = BlockOf(format.encoding);
  const std::int64_t num_blocks = static_cast<std::int64_t>(blocks.size()) / size;
  std::vector<std::byte> matrix;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t b = 0; b < cols / elements; ++b) {
      const std::int64_t pick = (3 * r + b * (r % 4 + 1)) % num_blocks;
      const auto block =
          blocks.subspan(static_cast<std::size_t>(pick * size), static_cast<std::size_t>(size));
      matrix.insert(matrix.end(), block.begin(), block.end());
    }
  }
  return matrix;
}

}  // namespace thinkwire::worker::kernels
