#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/fakes/gguf_writer.h"
#include "tests/worker/model/model_files.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::model {

// What a PackedModel is: values, down projections and the head are of `some`, the other matrices of
// `most`, as in a Q4_K_M file.
struct PackedModelShape {
  std::string family = "qwen2";
  kernels::Encoding most = kernels::Encoding::kQ4K;
  kernels::Encoding some = kernels::Encoding::kQ6K;
  std::int64_t ffn = 512;
  std::int64_t head_dim = 64;
};

// GGUF files of a model of two layers with random packed weights, 256 wide, and of the same weights
// unpacked ahead. Owns: the files.
class PackedModel {
 public:
  explicit PackedModel(const PackedModelShape& shape);

  std::filesystem::path packed() const { return dir_.path() / "packed.gguf"; }
  std::filesystem::path unpacked() const { return dir_.path() / "unpacked.gguf"; }

 private:
  // Of one of the files.
  void Write(bool packed);
  void WriteLayer(const std::string& name, bool packed, GgufWriter& writer);
  void AddValues(GgufWriter& writer) const;
  static void Vector(const std::string& name, std::int64_t size, float value, GgufWriter& writer);
  void Matrix(const std::string& name, std::int64_t rows, std::int64_t cols,
              kernels::Encoding encoding, bool packed, GgufWriter& writer);

  const PackedModelShape shape_;
  const std::int64_t kv_rows_;
  TempDir dir_;
  std::uint32_t seed_ = 1;  // of the next matrix
};

}  // namespace thinkwire::worker::model
