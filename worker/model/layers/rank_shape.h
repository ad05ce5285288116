#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// One rank's share of a model. Query heads, feed-forward columns and rows of the head are split
// evenly. KV heads are split while there are enough; where ranks outnumber them, each rank holds
// one, and ranks whose query heads share it hold copies. The embedding is on every rank whole:
// that costs V x E x 2 bytes a rank, saves an all-reduce a step, and adds nothing up.
struct RankShape {
  std::int32_t rank = 0;
  std::int32_t ranks = 1;
  std::int64_t first_head = 0, num_heads = 0;
  std::int64_t first_kv_head = 0, num_kv_heads = 0;
  std::int64_t first_ffn = 0, ffn = 0;
  // Rows of the head. The last ranks may own rows past vocab_size, which are zero.
  std::int64_t first_vocab = 0, vocab = 0;
};

// Fails: INVALID_ARGUMENT with the sizes that this model allows.
absl::Status CheckSplit(const ModelConfig& config, std::int32_t ranks);

// REQUIRES: CheckSplit, 0 <= rank < ranks.
RankShape ShapeOfRank(const ModelConfig& config, std::int32_t rank, std::int32_t ranks);

}  // namespace thinkwire::worker::model
