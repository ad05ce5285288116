#pragma once

#include <cstdint>

#include "worker/model/checkpoint/model_config.h"
#include "worker/model/model_runner.h"

namespace thinkwire::bench {

// Bytes of keys and values of one token, over all layers and ranks.
std::int64_t KvBytesPerToken(const worker::model::ModelConfig& config, std::int32_t ranks,
                             std::int64_t element_bytes);

// What a model cannot do without, over all ranks: the bytes of a decode step and the products of a
// prompt. Activations are left out.
class ModelCosts {
 public:
  ModelCosts(const worker::model::ModelConfig& config, const worker::model::ModelInfo& info,
             std::int32_t ranks);

  std::int64_t kv_bytes_per_token() const { return kv_bytes_per_token_; }

  // One step of `sequences` rows, each over `context` positions: every weight once, and the keys
  // and values of all positions.
  double DecodeStepBytes(std::int32_t sequences, double context) const;

  // One prompt of `tokens`: linears, causal attention, and the head for its last token.
  double PrefillFlops(std::int64_t tokens) const;

 private:
  worker::model::ModelConfig config_;
  std::int64_t weight_bytes_per_step_ = 0;
  std::int64_t kv_bytes_per_token_ = 0;
  std::int64_t linear_weights_ = 0;   // numbers in all layers' matrices
  std::int64_t head_weights_ = 0;     // numbers in the head
  std::int64_t attention_width_ = 0;  // query channels over all layers
};

}  // namespace thinkwire::bench
