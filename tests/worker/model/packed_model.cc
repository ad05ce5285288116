#include "tests/worker/model/packed_model.h"

#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "worker/kernels/unpack_row.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kQuery = 512;
constexpr std::int64_t kKvHeads = 2;
constexpr std::int64_t kVocab = 90;

}  // namespace

PackedModel::PackedModel(const PackedModelShape& shape)
    : shape_(shape), kv_rows_(kKvHeads * shape.head_dim) {
  Write(true);
  Write(false);
}

void PackedModel::Write(bool packed) {
  GgufWriter writer;
  AddValues(writer);
  seed_ = 1;
  Vector("output_norm.weight", kHidden, 1, writer);
  Matrix("token_embd.weight", kVocab, kHidden, shape_.most, packed, writer);
  Matrix("output.weight", kVocab, kHidden, shape_.some, packed, writer);
  for (int layer = 0; layer < 2; ++layer) {
    WriteLayer("blk." + std::to_string(layer) + ".", packed, writer);
  }
  WriteFile(packed ? this->packed() : unpacked(), writer.File());
}

void PackedModel::WriteLayer(const std::string& name, bool packed, GgufWriter& writer) {
  Vector(name + "attn_norm.weight", kHidden, 1, writer);
  Vector(name + "ffn_norm.weight", kHidden, 1, writer);
  Matrix(name + "attn_q.weight", kQuery, kHidden, shape_.most, packed, writer);
  Matrix(name + "attn_k.weight", kv_rows_, kHidden, shape_.most, packed, writer);
  Matrix(name + "attn_v.weight", kv_rows_, kHidden, shape_.some, packed, writer);
  Matrix(name + "attn_output.weight", kHidden, kQuery, shape_.most, packed, writer);
  Matrix(name + "ffn_gate.weight", shape_.ffn, kHidden, shape_.most, packed, writer);
  Matrix(name + "ffn_up.weight", shape_.ffn, kHidden, shape_.most, packed, writer);
  Matrix(name + "ffn_down.weight", kHidden, shape_.ffn, shape_.some, packed, writer);
  if (shape_.family != "qwen2") return;
  for (const char* bias : {"attn_q.bias", "attn_k.bias", "attn_v.bias"}) {
    Vector(name + bias, bias[5] == 'q' ? kQuery : kv_rows_, 0.1F, writer);
  }
}

void PackedModel::AddValues(GgufWriter& writer) const {
  writer.Text("general.architecture", shape_.family);
  const auto add = [&](const char* key, std::int64_t value) {
    writer.U32(shape_.family + "." + key, static_cast<std::uint32_t>(value));
  };
  add("context_length", 256);
  add("embedding_length", kHidden);
  add("block_count", 2);
  add("feed_forward_length", shape_.ffn);
  add("attention.head_count", kQuery / shape_.head_dim);
  add("attention.head_count_kv", kKvHeads);
  add("attention.key_length", shape_.head_dim);
  add("vocab_size", kVocab);
  writer.F32(shape_.family + ".attention.layer_norm_rms_epsilon", 1e-6F);
}

void PackedModel::Vector(const std::string& name, std::int64_t size, float value,
                         GgufWriter& writer) {
  const std::vector<float> values(static_cast<std::size_t>(size), value);
  writer.Tensor(name, GgufTypeOf(Encoding::kF32), {size}, Encoded(values, Encoding::kF32));
}

void PackedModel::Matrix(const std::string& name, std::int64_t rows, std::int64_t cols,
                         Encoding encoding, bool packed, GgufWriter& writer) {
  const std::string blocks = RandomBlocks(encoding, rows * cols, seed_++);
  if (packed) {
    writer.Tensor(name, GgufTypeOf(encoding), {rows, cols}, blocks);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  kernels::UnpackRow(encoding, blocks.data(), rows * cols, values.data());
  writer.Tensor(name, GgufTypeOf(Encoding::kBf16), {rows, cols}, Encoded(values, Encoding::kBf16));
}

}  // namespace thinkwire::worker::model
