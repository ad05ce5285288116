#include "worker/model/layers/weights.h"

#include <algorithm>
#include <string>
#include <utility>

namespace thinkwire::worker::model {
namespace {

kernels::Buffer LoadNorm(const std::string& name, std::int64_t size, const WeightSource& source,
                         kernels::Backend& backend) {
  return backend.MakeTable(source.Slice({name, size, 1, true}, {0, size, 0, 1}).slice);
}

// The rank's rows of the head, filled up with zero rows past the vocabulary.
std::unique_ptr<kernels::LinearWeight> LoadHead(const ModelConfig& config, const RankShape& shape,
                                                const WeightSource& source,
                                                kernels::Backend& backend) {
  const std::int64_t e = config.hidden_size;
  const std::int64_t left = std::max<std::int64_t>(0, config.vocab_size - shape.first_vocab);
  const std::int64_t real = std::min(shape.vocab, left);
  const std::int64_t padding = shape.vocab - real;
  const char* name = config.tie_word_embeddings ? kEmbeddingName : kHeadName;
  HostSlice rows;
  std::vector<kernels::WeightSlice> parts;
  if (real > 0) {
    rows = source.Slice({name, config.vocab_size, e, false}, {shape.first_vocab, real, 0, e});
    parts.push_back(rows.slice);
  }
  const std::vector<std::uint16_t> zeros(static_cast<std::size_t>(padding * e));
  if (padding > 0) {
    parts.push_back({.data = zeros.data(),
                     .encoding = kernels::Encoding::kBf16,
                     .rows = padding,
                     .cols = e,
                     .row_stride = e});
  }
  return backend.MakeLinear(parts, {}, kernels::LinearLayout::kPlain);
}

std::size_t LayerBytes(const LayerWeights& layer) {
  return layer.input_norm.bytes() + layer.post_attention_norm.bytes() +
         layer.attention.qkv->bytes() + layer.attention.out->bytes() + layer.ffn.gate_up->bytes() +
         layer.ffn.down->bytes();
}

}  // namespace

std::int64_t RankWeights::bytes_per_token() const {
  std::size_t total = final_norm.bytes() + head->bytes();
  for (const LayerWeights& layer : layers) total += LayerBytes(layer);
  return static_cast<std::int64_t>(total);
}

std::int64_t RankWeights::bytes() const {
  return bytes_per_token() + static_cast<std::int64_t>(embedding.bytes());
}

RankWeights LoadRankWeights(const ModelConfig& config, const RankShape& shape,
                            const WeightSource& source, kernels::Backend& backend) {
  const std::int64_t e = config.hidden_size;
  RankWeights weights;
  weights.embedding = backend.MakeTable(
      source.Slice({kEmbeddingName, config.vocab_size, e, false}, {0, config.vocab_size, 0, e})
          .slice);
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    LayerWeights layer;
    layer.input_norm = LoadNorm(LayerTensorName(i, "input_layernorm.weight"), e, source, backend);
    layer.attention = LoadAttention(config, shape, i, source, backend);
    layer.post_attention_norm =
        LoadNorm(LayerTensorName(i, "post_attention_layernorm.weight"), e, source, backend);
    layer.ffn = LoadFeedForward(config, shape, i, source, backend);
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = LoadNorm(kFinalNormName, e, source, backend);
  weights.head = LoadHead(config, shape, source, backend);
  return weights;
}

}  // namespace thinkwire::worker::model
