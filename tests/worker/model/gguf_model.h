#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/fakes/gguf_writer.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::model {

// A tensor of a Hugging Face checkpoint, in float.
struct FloatTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};
// All of a folder, by name.
std::map<std::string, FloatTensor> ReadFloats(const std::filesystem::path& folder);

// ggml's number of an encoding.
std::uint32_t GgufTypeOf(kernels::Encoding encoding);

// Rows of floats as F32, F16, BF16 or Q8_0 stores them.
std::string Encoded(const std::vector<float>& values, kernels::Encoding encoding);

// Random blocks whose scales are near 0.001.
std::string RandomBlocks(kernels::Encoding encoding, std::int64_t elements, std::uint32_t seed);

// The values that llama.cpp's converter writes of the config.json in `folder`, without a tokenizer.
void AddValues(const std::filesystem::path& folder, GgufWriter& writer);

// A folder's tensors by llama.cpp's names and in its order of rows; matrices as `encoding`, those
// of which rows are no whole blocks as F32, like vectors.
void AddTensors(const std::filesystem::path& folder, kernels::Encoding encoding,
                GgufWriter& writer);

// AddValues and AddTensors of ModelDir(name), written to `file`.
void WriteGguf(const std::string& name, kernels::Encoding encoding,
               const std::filesystem::path& file);

}  // namespace thinkwire::worker::model
