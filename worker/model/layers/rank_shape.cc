#include "worker/model/layers/rank_shape.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace thinkwire::worker::model {
namespace {

bool Splits(const ModelConfig& config, std::int64_t ranks) {
  return config.num_heads % ranks == 0 && config.intermediate_size % ranks == 0 &&
         (config.num_kv_heads % ranks == 0 || ranks % config.num_kv_heads == 0);
}

}  // namespace

absl::Status CheckSplit(const ModelConfig& config, std::int32_t ranks) {
  if (ranks >= 1 && Splits(config, ranks)) return absl::OkStatus();
  std::vector<std::int64_t> allowed;
  for (std::int64_t r = 1; r <= config.num_heads; ++r) {
    if (Splits(config, r)) allowed.push_back(r);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tensor_parallel_size ", ranks, " does not split ", config.num_heads, " attention heads, ",
      config.num_kv_heads, " key-value heads and intermediate_size ", config.intermediate_size,
      "; allowed: ", absl::StrJoin(allowed, ", ")));
}

RankShape ShapeOfRank(const ModelConfig& config, std::int32_t rank, std::int32_t ranks) {
  RankShape shape;
  shape.rank = rank;
  shape.ranks = ranks;
  shape.num_heads = config.num_heads / ranks;
  shape.first_head = rank * shape.num_heads;
  if (ranks <= config.num_kv_heads) {
    shape.num_kv_heads = config.num_kv_heads / ranks;
    shape.first_kv_head = rank * shape.num_kv_heads;
  } else {
    shape.num_kv_heads = 1;
    shape.first_kv_head = rank / (ranks / config.num_kv_heads);
  }
  shape.ffn = config.intermediate_size / ranks;
  shape.first_ffn = rank * shape.ffn;
  shape.vocab = (config.vocab_size + ranks - 1) / ranks;
  shape.first_vocab = rank * shape.vocab;
  return shape;
}

}  // namespace thinkwire::worker::model
