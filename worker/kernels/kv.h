#pragma once

#include <array>
#include <cstdint>

#include "worker/kernels/tensor.h"

// Which tokens a step computes, and where what they leave for later ones is kept. Letters as in
// backend.h.
namespace thinkwire::worker::kernels {

// Which tokens a step computes. All pointers are device arrays.
struct BatchView {
  std::int32_t num_tokens = 0;                 // T
  std::int32_t num_seqs = 0;                   // S
  std::int32_t max_blocks = 0;                 // M
  const std::int32_t* positions = nullptr;     // [T] position in its sequence
  const std::int32_t* token_seq = nullptr;     // [T] its sequence in the step, -1 padding
  const std::int32_t* query_start = nullptr;   // [S + 1] first token of each sequence
  const std::int32_t* seq_slot = nullptr;      // [S] its row of block_tables
  const std::int32_t* block_tables = nullptr;  // [Q, M] block that holds positions B*m .. B*m+B-1
};

// By which FP8 keys and values are multiplied when they are read: a number is kept as e4m3(x * (1
// / scale)) in f32, saturated at 448 (e4m3.h). Finite and above 0; 1 for planes that are not FP8.
struct KvScales {
  float keys = 1;
  float values = 1;

  bool operator==(const KvScales&) const = default;
};

// What one layer keeps of each token: planes [N, B * width], each as wide as the layer's kind of
// attention needs and of its own type: act, or kE4m3. Within a block the layout is the backend's
// own; a block is contiguous in each plane, so that copying its bytes copies its tokens.
struct KvLayer {
  std::array<Tensor, 2> planes = {};
  std::int32_t num_kv_heads = 0;  // K
  std::int32_t block_tokens = 0;  // B
  std::int32_t head_dim = 0;      // D
  KvScales scales = {};

  // Grouped-query attention's planes, both of width K * D.
  const Tensor& keys() const { return planes[0]; }
  const Tensor& values() const { return planes[1]; }
};

}  // namespace thinkwire::worker::kernels
