#include "worker/model/checkpoint/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/status.h"
#include "common/strings.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/gguf_deepseek.h"
#include "worker/model/checkpoint/gguf_keys.h"
#include "worker/model/checkpoint/gguf_names.h"
#include "worker/model/checkpoint/safetensors.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestText = 256;  // of a value that decides anything
constexpr double kMostFactor = 1e6;

struct JsonOf {
  json operator()(std::string_view text) const { return std::string(text.substr(0, kLongestText)); }
  // Shown where a number is expected.
  json operator()(const GgufArray& array) const {
    return absl::StrCat("array of ", array.count, " ", View(NameOf(array.element)));
  }
  template <class Number>
  json operator()(Number number) const {
    return number;
  }
};

// The values as one JSON object, by their keys, which ConfigReader then checks and quotes.
json AsJson(const GgufContent& content) {
  json object = json::object();
  for (const auto& [key, value] : content.values) object[key] = std::visit(JsonOf(), value);
  return object;
}

absl::StatusOr<const GgufFamily*> ReadFamily(const ConfigReader& reader) {
  const json* name = reader.Find("general.architecture");
  for (const GgufFamily& family : kGgufFamilies) {
    if (name != nullptr && *name == std::string(family.name)) return &family;
  }
  return reader.Refuse("general.architecture", "qwen2, llama, deepseek2");
}

absl::Status ReadHeads(const GgufKeys& keys, ModelConfig& config) {
  RETURN_IF_ERROR(keys.Size("attention.head_count", kMaxHeads, config.num_heads));
  config.num_kv_heads = config.num_heads;
  RETURN_IF_ERROR(keys.OptionalSize("attention.head_count_kv", kMaxHeads, config.num_kv_heads));
  if (config.num_heads % config.num_kv_heads != 0) {
    return keys.Refuse("attention.head_count_kv",
                       absl::StrCat("a divisor of attention.head_count ", config.num_heads));
  }
  if (!keys.Has("attention.key_length") && config.hidden_size % config.num_heads != 0) {
    return keys.Refuse("embedding_length",
                       absl::StrCat("a multiple of attention.head_count ", config.num_heads,
                                    ", as attention.key_length is unset"));
  }
  config.head_dim = config.hidden_size / config.num_heads;
  RETURN_IF_ERROR(keys.OptionalSize("attention.key_length", kMaxHeadDim, config.head_dim));
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    return keys.Refuse("attention.key_length", absl::StrCat("an even number up to ", kMaxHeadDim));
  }
  for (const char* key : {"attention.value_length", "rope.dimension_count"}) {
    std::int64_t length = config.head_dim;
    RETURN_IF_ERROR(keys.OptionalSize(key, kMaxHeadDim, length));
    if (length != config.head_dim) {
      return keys.Refuse(key, absl::StrCat("the dimensions of a head, ", config.head_dim));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const GgufShards& shards, const ConfigReader& reader,
                            const GgufKeys& keys, ModelConfig& config) {
  if (keys.Has("vocab_size")) return keys.Size("vocab_size", kMaxVocabSize, config.vocab_size);
  const GgufValue* tokens = shards.values().Find("tokenizer.ggml.tokens");
  const auto* array = tokens == nullptr ? nullptr : std::get_if<GgufArray>(tokens);
  if (array == nullptr || array->count < 1 || array->count > std::uint64_t{kMaxVocabSize}) {
    return reader.Refuse("tokenizer.ggml.tokens",
                         absl::StrCat("an array of 1 to ", kMaxVocabSize, " tokens"));
  }
  config.vocab_size = static_cast<std::int64_t>(array->count);
  return absl::OkStatus();
}

bool IsDeepseek(const ModelConfig& config) {
  return config.architecture == kGgufFamilies.back().architecture;
}

absl::Status ReadSizes(const GgufKeys& keys, ModelConfig& config) {
  RETURN_IF_ERROR(keys.Size("embedding_length", kMaxHiddenSize, config.hidden_size));
  RETURN_IF_ERROR(keys.Size("block_count", kMaxLayers, config.num_layers));
  RETURN_IF_ERROR(keys.Size("feed_forward_length", kMaxIntermediateSize, config.intermediate_size));
  RETURN_IF_ERROR(
      keys.Size("context_length", kMaxPositions, config.max_position_embeddings, kMinModelLen));
  if (!IsDeepseek(config)) return ReadHeads(keys, config);
  return keys.Size("attention.head_count", kMaxHeads, config.num_heads);
}

absl::Status TensorError(const GgufShardTensor& found, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(*found.file, ": tensor ", QuotedName(found.tensor->name), " ", problem));
}

// The divisors of the frequencies.
absl::Status ReadRopeFactors(const GgufShardTensor& found, ModelConfig& config) {
  const GgufTensor& tensor = *found.tensor;
  const std::int64_t half = config.head_dim / 2;
  if (tensor.type->name != "F32" || tensor.shape != std::vector<std::int64_t>{half}) {
    return TensorError(
        found, absl::StrCat("is not F32 of shape [", half, "], half the dimensions of a head"));
  }
  DividedRopeScaling divided;
  divided.divisors.resize(static_cast<std::size_t>(half));
  std::memcpy(divided.divisors.data(), tensor.bytes.data(), tensor.bytes.size());
  for (const float divisor : divided.divisors) {
    if (std::isfinite(divisor) && divisor > 0 && divisor <= kMostFactor) continue;
    return TensorError(
        found, absl::StrCat("divides by ", divisor, "; allowed: above 0, up to ", kMostFactor));
  }
  config.rope.scaling = std::move(divided);
  return absl::OkStatus();
}

absl::Status ReadLinear(const ConfigReader& reader, const GgufKeys& keys, RopeScaling& scaling) {
  LinearRopeScaling linear;
  RETURN_IF_ERROR(reader.Number(keys.Of("rope.scaling.factor"), 1e-3, kMostFactor, linear.factor));
  scaling = linear;
  return absl::OkStatus();
}

// llama.cpp's own choice where keys are unset, which is transformers' too.
absl::Status ReadYarn(const ConfigReader& reader, const GgufKeys& keys, ModelConfig& config) {
  constexpr double kLeastFactor = 1e-3;
  constexpr double kMostBeta = 1e6;
  YarnRopeScaling yarn;
  double attention = 1;
  std::int64_t original = config.max_position_embeddings;
  const auto number = [&](const char* key, double least, double most, double& value) {
    return reader.OptionalNumber(keys.Of(key), least, most, value);
  };
  RETURN_IF_ERROR(
      reader.Number(keys.Of("rope.scaling.factor"), kLeastFactor, kMostFactor, yarn.factor));
  RETURN_IF_ERROR(
      keys.OptionalSize("rope.scaling.original_context_length", kMaxPositions, original));
  RETURN_IF_ERROR(number("rope.scaling.attn_factor", kLeastFactor, kMostFactor, attention));
  RETURN_IF_ERROR(number("rope.scaling.yarn_beta_fast", kLeastFactor, kMostBeta, yarn.beta_fast));
  RETURN_IF_ERROR(number("rope.scaling.yarn_beta_slow", kLeastFactor, kMostBeta, yarn.beta_slow));
  RETURN_IF_ERROR(reader.OnlyNumber(keys.Of("rope.scaling.yarn_ext_factor"), 1.0));
  RETURN_IF_ERROR(reader.OnlyNumber(keys.Of("rope.scaling.yarn_attn_factor"), 1.0));
  if (config.rope.theta <= 1) return keys.Refuse("rope.freq_base", "more than 1 with yarn");
  yarn.original_max_position_embeddings = static_cast<double>(original);
  yarn.attention_factor = attention * GgufYarnTemperature(yarn.factor);
  config.rope.scaling = yarn;
  return absl::OkStatus();
}

absl::Status ReadRope(const GgufShards& shards, const ConfigReader& reader, const GgufKeys& keys,
                      ModelConfig& config) {
  RETURN_IF_ERROR(
      reader.OptionalNumber(keys.Of("rope.freq_base"), 1, kMaxRopeTheta, config.rope.theta));
  const GgufShardTensor factors = shards.Find(kGgufRopeFactors);
  const json* type = reader.Find(keys.Of("rope.scaling.type"));
  const bool is_linear = type != nullptr && *type == "linear";
  const bool is_yarn = type != nullptr && *type == "yarn";
  if (type != nullptr && !is_linear && !is_yarn && *type != "none") {
    return keys.Refuse("rope.scaling.type", "none, linear, yarn, and rope_freqs.weight");
  }
  if ((is_linear || is_yarn) && factors.tensor != nullptr) {
    return TensorError(factors, absl::StrCat("and rope.scaling.type ", is_yarn ? "yarn" : "linear",
                                             " are there; one of them is supported"));
  }
  if (factors.tensor != nullptr) return ReadRopeFactors(factors, config);
  if (is_yarn) return ReadYarn(reader, keys, config);
  if (is_linear) return ReadLinear(reader, keys, config.rope.scaling);
  return reader.OnlyNumber(keys.Of("rope.scale_linear"), 1.0);
}

// What another reader could do and we cannot.
absl::Status RefuseVariants(const ConfigReader& reader, const GgufKeys& keys,
                            const ModelConfig& config) {
  if (reader.Has("general.type")) {
    const json& type = *reader.Find("general.type");
    if (type != "model") return reader.Refuse("general.type", "model");
  }
  if (!IsDeepseek(config)) RETURN_IF_ERROR(reader.OnlyNumber(keys.Of("expert_count"), 0));
  return reader.OnlyNumber(keys.Of("attention.sliding_window"), 0);
}

absl::Status ReadEnds(const ConfigReader& reader, ModelConfig& config) {
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    if (!reader.Has(key)) continue;
    std::int64_t id = 0;
    RETURN_IF_ERROR(reader.Integer(key, 0, config.vocab_size - 1, id));
    config.end_of_sequence_ids.push_back(static_cast<std::int32_t>(id));
  }
  std::vector<std::int32_t>& ids = config.end_of_sequence_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ReadGgufConfig(const GgufShards& shards) {
  const json values = AsJson(shards.values());
  const ConfigReader reader(values, shards.path());
  ASSIGN_OR_RETURN(const GgufFamily* family, ReadFamily(reader));
  const GgufKeys keys(reader, family->name);
  ModelConfig config;
  config.architecture = std::string(family->architecture);
  config.qkv_bias = family->qkv_bias;
  RETURN_IF_ERROR(RefuseVariants(reader, keys, config));
  RETURN_IF_ERROR(ReadSizes(keys, config));
  RETURN_IF_ERROR(ReadVocabulary(shards, reader, keys, config));
  RETURN_IF_ERROR(ReadRope(shards, reader, keys, config));
  if (IsDeepseek(config)) RETURN_IF_ERROR(ReadGgufDeepseek(keys, config));
  double eps = 0;
  RETURN_IF_ERROR(reader.Number(keys.Of("attention.layer_norm_rms_epsilon"), 1e-12, 1, eps));
  config.rms_norm_eps = static_cast<float>(eps);
  config.tie_word_embeddings = shards.Find(GgufNameOf(kHeadName)).tensor == nullptr;
  RETURN_IF_ERROR(ReadEnds(reader, config));
  return config;
}

absl::StatusOr<SamplingDefaults> ReadGgufSampling(const GgufShards& shards) {
  const json values = AsJson(shards.values());
  return ReadSampling(ConfigReader(values, shards.path()),
                      {.temperature = "general.sampling.temp",
                       .top_p = "general.sampling.top_p",
                       .top_k = "general.sampling.top_k",
                       .min_p = "general.sampling.min_p",
                       .repetition_penalty = "general.sampling.penalty_repeat"});
}

}  // namespace thinkwire::worker::model
