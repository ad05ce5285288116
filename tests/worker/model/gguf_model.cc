#include "tests/worker/model/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numbers>
#include <random>
#include <utility>

#include "common/check.h"
#include "tests/worker/model/model_files.h"
#include "worker/kernels/convert.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using nlohmann::json;

json ConfigOf(const std::filesystem::path& folder) {
  json config = json::parse(ReadFile(folder / "config.json"));
  if (!config.contains("head_dim")) {
    config["head_dim"] =
        config.at("hidden_size").get<int>() / config.at("num_attention_heads").get<int>();
  }
  return config;
}

// The nearest f16 of a number whose f16 is normal or 0.
std::uint16_t Half(float x) {
  if (std::abs(x) < 0x1p-14F) return std::signbit(x) ? 0x8000 : 0;
  int exponent = 0;
  const float fraction = std::frexp(std::abs(x), &exponent);  // [0.5, 1)
  const auto mantissa = static_cast<int>(std::nearbyint(fraction * 2048.0F));
  const int bits = mantissa + ((exponent + 13) << 10);
  return static_cast<std::uint16_t>(bits | (x < 0 ? 0x8000 : 0));
}

std::string EncodedQ8(const std::vector<float>& values) {
  std::string bytes;
  for (std::size_t at = 0; at < values.size(); at += 32) {
    float most = 0;
    for (std::size_t i = at; i < at + 32; ++i) most = std::max(most, std::abs(values[i]));
    const std::uint16_t half = Half(most / 127.0F);
    const float d = kernels::F32FromF16(half);
    bytes += GgufWriter::Bytes(half);
    for (std::size_t i = at; i < at + 32; ++i) {
      const float q = d == 0 ? 0 : std::clamp(std::nearbyint(values[i] / d), -127.0F, 127.0F);
      bytes += static_cast<char>(static_cast<std::int8_t>(q));
    }
  }
  return bytes;
}

std::string NameInGguf(std::string name) {
  const std::vector<std::pair<std::string, std::string>> replacements = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      {"model.layers", "blk"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const auto& [from, to] : replacements) {
    const std::size_t at = name.find(from);
    if (at != name.npos) name.replace(at, from.size(), to);
  }
  return name;
}

// weights.reshape(heads, 2, half, cols).swapaxes(1, 2) of convert_hf_to_gguf.py.
std::vector<float> Permuted(const FloatTensor& tensor, std::int64_t head_dim) {
  const std::int64_t rows = tensor.shape[0];
  const std::int64_t cols = tensor.shape.size() == 1 ? 1 : tensor.shape[1];
  const std::int64_t half = head_dim / 2;
  std::vector<float> out;
  for (std::int64_t head = 0; head < rows / head_dim; ++head) {
    for (std::int64_t j = 0; j < half; ++j) {
      for (std::int64_t t = 0; t < 2; ++t) {
        const auto* const row = tensor.values.data() + (head * head_dim + t * half + j) * cols;
        out.insert(out.end(), row, row + cols);
      }
    }
  }
  return out;
}

// As LlamaModel.generate_extra_tensors there.
std::vector<float> RopeFactors(const json& rope, std::int64_t head_dim) {
  const double factor = rope.at("factor");
  const double low = rope.at("low_freq_factor");
  const double high = rope.at("high_freq_factor");
  const double original = rope.at("original_max_position_embeddings");
  std::vector<float> factors;
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    const double wave =
        2 * std::numbers::pi * std::pow(rope.at("rope_theta").get<double>(), exponent);
    if (wave < original / high) {
      factors.push_back(1);
    } else if (wave > original / low) {
      factors.push_back(static_cast<float>(factor));
    } else {
      const double smooth = (original / wave - low) / (high - low);
      factors.push_back(static_cast<float>(1 / ((1 - smooth) / factor + smooth)));
    }
  }
  return factors;
}

void AddTensor(const std::string& name, const std::vector<std::int64_t>& shape,
               const std::vector<float>& values, Encoding encoding, GgufWriter& writer) {
  const bool fits = shape.size() == 2 && shape[1] % kernels::BlockOf(encoding).elements == 0;
  const Encoding stored = fits ? encoding : Encoding::kF32;
  writer.Tensor(name, GgufTypeOf(stored), shape, Encoded(values, stored));
}

}  // namespace

std::map<std::string, FloatTensor> ReadFloats(const std::filesystem::path& folder) {
  std::map<std::string, FloatTensor> tensors;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    const SafetensorsParts parts = SplitSafetensors(ReadFile(entry.path()));
    for (const auto& [name, value] : parts.header.items()) {
      if (name == "__metadata__") continue;
      FloatTensor& tensor = tensors[name];
      value.at("shape").get_to(tensor.shape);
      const std::string dtype = value.at("dtype");
      const auto begin = value.at("data_offsets")[0].get<std::size_t>();
      const auto end = value.at("data_offsets")[1].get<std::size_t>();
      for (std::size_t at = begin; at < end; at += dtype == "F32" ? 4 : 2) {
        float x = 0;
        std::uint16_t half = 0;
        std::memcpy(&half, parts.data.data() + at, sizeof(half));
        if (dtype == "F32") std::memcpy(&x, parts.data.data() + at, sizeof(x));
        if (dtype == "BF16") x = kernels::F32FromBf16(half);
        if (dtype == "F16") x = kernels::F32FromF16(half);
        tensor.values.push_back(x);
      }
    }
  }
  return tensors;
}

std::uint32_t GgufTypeOf(Encoding encoding) {
  constexpr std::uint32_t kTypes[kernels::kNumEncodings] = {30, 1,  0,  2,  3,  6,  7, 8,
                                                            10, 11, 12, 13, 14, 20, 23};
  return kTypes[static_cast<int>(encoding)];
}

std::string Encoded(const std::vector<float>& values, Encoding encoding) {
  if (encoding == Encoding::kQ8_0) return EncodedQ8(values);
  std::string bytes;
  for (const float x : values) {
    if (encoding == Encoding::kF32) bytes += GgufWriter::Bytes(x);
    if (encoding == Encoding::kF16) bytes += GgufWriter::Bytes(Half(x));
    if (encoding == Encoding::kBf16) bytes += GgufWriter::Bytes(kernels::Bf16FromF32(x));
  }
  CHECK(bytes.size() == static_cast<std::size_t>(
                            kernels::BytesOf(encoding, static_cast<std::int64_t>(values.size()))),
        "an encoding that is written here");
  return bytes;
}

std::string RandomBlocks(Encoding encoding, std::int64_t elements, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(static_cast<std::size_t>(kernels::BytesOf(encoding, elements)), '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  std::vector<std::size_t> scales = {0};
  if (encoding == Encoding::kQ4K || encoding == Encoding::kQ5K) scales = {0, 2};
  if (encoding == Encoding::kQ2K) scales = {80, 82};
  if (encoding == Encoding::kQ3K) scales = {108};
  if (encoding == Encoding::kQ6K) scales = {208};
  for (std::size_t at = 0; at < bytes.size();
       at += static_cast<std::size_t>(kernels::BlockOf(encoding).bytes)) {
    for (const std::size_t place : scales) {
      const auto half = static_cast<std::uint16_t>(0x1400U + random() % 0x400U);
      std::memcpy(bytes.data() + at + place, &half, sizeof(half));
    }
  }
  return bytes;
}

void AddValues(const std::filesystem::path& folder, GgufWriter& writer) {
  const json config = ConfigOf(folder);
  const std::string family = config.at("model_type");
  const auto add = [&](const std::string& key, const char* from) {
    writer.U32(family + "." + key, config.at(from).get<std::uint32_t>());
  };
  writer.Text("general.architecture", family);
  add("context_length", "max_position_embeddings");
  add("embedding_length", "hidden_size");
  add("block_count", "num_hidden_layers");
  add("feed_forward_length", "intermediate_size");
  add("attention.head_count", "num_attention_heads");
  add("attention.head_count_kv", "num_key_value_heads");
  add("attention.key_length", "head_dim");
  add("attention.value_length", "head_dim");
  add("rope.dimension_count", "head_dim");
  add("vocab_size", "vocab_size");
  const json& rope = config.contains("rope_parameters") ? config.at("rope_parameters") : config;
  writer.F32(family + ".rope.freq_base", rope.at("rope_theta").get<float>());
  writer.F32(family + ".attention.layer_norm_rms_epsilon", config.at("rms_norm_eps").get<float>());
  const json& eos = config.at("eos_token_id");
  writer.U32("tokenizer.ggml.eos_token_id", (eos.is_array() ? eos[0] : eos).get<std::uint32_t>());
}

void AddTensors(const std::filesystem::path& folder, Encoding encoding, GgufWriter& writer) {
  const json config = ConfigOf(folder);
  const std::int64_t head_dim = config.at("head_dim");
  const bool is_llama = config.at("model_type") == "llama";
  for (const auto& [name, tensor] : ReadFloats(folder)) {
    const bool permuted =
        is_llama && (name.find(".q_proj.") != name.npos || name.find(".k_proj.") != name.npos);
    AddTensor(NameInGguf(name), tensor.shape, permuted ? Permuted(tensor, head_dim) : tensor.values,
              encoding, writer);
  }
  const json rope = config.value("rope_parameters", json::object());
  if (rope.value("rope_type", "") != "llama3") return;
  AddTensor("rope_freqs.weight", {head_dim / 2}, RopeFactors(rope, head_dim), Encoding::kF32,
            writer);
}

void WriteGguf(const std::string& name, Encoding encoding, const std::filesystem::path& file) {
  GgufWriter writer;
  AddValues(ModelDir(name), writer);
  AddTensors(ModelDir(name), encoding, writer);
  WriteFile(file, writer.File());
}

}  // namespace thinkwire::worker::model
