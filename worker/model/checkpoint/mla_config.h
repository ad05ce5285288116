#pragma once

#include <cstdint>

namespace thinkwire::worker::model {

// The latent attention of a deepseek_v3 checkpoint (DeepSeek-V2, arXiv:2405.04434, section 2.1):
// config.json's fields under their own names. Of each token all heads share a latent of
// kv_lora_rank and a key of qk_rope_head_dim that is rotated by its position.
struct MlaConfig {
  std::int64_t q_lora_rank = 0;       // 0: queries are one product of the input
  std::int64_t kv_lora_rank = 0;      // at least 1
  std::int64_t qk_nope_head_dim = 0;  // of a head's query, what is not rotated; at least 1
  std::int64_t qk_rope_head_dim = 0;  // and what is; even
  std::int64_t v_head_dim = 0;        // of a head's result; at least 1
  bool rope_interleave = true;        // pairs 2i and 2i + 1 rotate; else i and i + half
  // Multiplies scores: 1 / sqrt(qk_head_dim), and with yarn's mscale_all_dim its temperature's
  // square.
  float score_scale = 0;

  std::int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  // What a token leaves in the KV cache.
  std::int64_t key_dim() const { return kv_lora_rank + qk_rope_head_dim; }
};

}  // namespace thinkwire::worker::model
