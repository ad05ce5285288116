#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {

struct AttentionShape {
  int heads;
  int kv_heads;
  int head_dim;
  int block_tokens;
  std::optional<KvScales> fp8 = {};  // keys and values are FP8 with these; else as activations
  bool inputs_are_e4m3 = false;      // so that FP8 holds keys and values as they are
};

// A sequence's tokens in a step. A padded sequence has count 0.
struct StepRows {
  int seq;
  int first;
  int count;
};

// A step's tokens as the ops take them, in a backend's memory. The last `padded_tokens` are
// nobody's.
class DeviceBatch {
 public:
  DeviceBatch(Backend& backend, const std::vector<std::int32_t>& positions,
              const std::vector<std::int32_t>& token_seq,
              const std::vector<std::int32_t>& query_start,
              const std::vector<std::int32_t>& seq_slot,
              const std::vector<std::int32_t>& block_tables, std::int32_t max_blocks);

  const BatchView& view() const { return view_; }

 private:
  const DeviceInts words_;  // the arrays one after the other
  BatchView view_;
};

// Half rotation's table of `positions` rows for heads of `dim`, as QkvRopeWriteKv takes it.
std::vector<float> RopeTable(int positions, int dim);

// One layer's attention on a backend: a projection and a paged cache over the tokens of some
// sequences, whose inputs depend on sequence and position alone. Each Step first writes the keys
// and values that it needs and that are not there yet, as a server would; all other slots of the
// cache hold NaN. Blocks and slots are shuffled.
//
// In f32, and not in FP8, queries, keys and values are a random projection with a bias and
// rotation. In bf16 they would be rounded on the way; so each is one element of the input, its sign
// and scale changed by a power of two, and nothing rotates: what attention reads is known exactly.
class PagedLayer {
 public:
  PagedLayer(Backend& backend, const AttentionShape& shape, std::vector<int> lengths);

  // [tokens of rows, H, D]; the step has `padded_tokens` more at its end.
  std::vector<float> Step(const std::vector<StepRows>& rows, int padded_tokens = 0);
  // The same with attention by something else than the backend's op.
  using Attend = std::function<void(const Tensor& q, const BatchView& batch, const KvLayer& kv,
                                    float scale, const Tensor& out)>;
  std::vector<float> StepBy(const Attend& attend, const std::vector<StepRows>& rows,
                            int padded_tokens);
  // The whole of a sequence in steps of `chunk` tokens.
  std::vector<float> InChunks(int seq, int chunk);

  // In double precision, for the token at `position`: the result, and what it adds up in magnitude.
  struct Expected {
    std::vector<double> values;      // [H, D]
    std::vector<double> magnitudes;  // [H, D]
  };
  Expected Reference(int seq, int position);

  // Whether row `row` of a step's result is as expected, within the table's tolerance.
  testing::AssertionResult IsNear(const std::vector<float>& out, int row,
                                  const Expected& expected) const;

  std::vector<float> Keys() const { return keys_.Read(); }
  std::vector<float> Values() const { return values_.Read(); }
  std::int64_t row_elements() const { return std::int64_t{shape_.heads} * shape_.head_dim; }

 private:
  struct Projection {
    int hidden = 0;
    std::vector<float> weights;  // [(H + 2K) D, E]
    std::vector<int> columns;    // [(H + 2K) D] the one that is not 0, or empty
    std::vector<float> bias;     // or empty
    std::vector<float> rope;
  };
  static Projection Projected(const AttentionShape& shape);
  static Projection Selected(const AttentionShape& shape);

  bool is_f32() const { return backend_.capabilities().activation == DType::kF32; }
  int SlotOf(int seq) const { return static_cast<int>(lengths_.size()) - 1 - seq; }
  float Scale() const;
  KvLayer Kv() const;
  void DealBlocks(int num_blocks);
  // Writes keys and values of all that comes before the rows' tokens.
  void WriteBefore(const std::vector<StepRows>& rows);
  void Compute(const Attend* attend, const std::vector<StepRows>& rows, int padded_tokens,
               std::vector<float>* result);
  bool is_selected() const { return !is_f32() || shape_.fp8 || shape_.inputs_are_e4m3; }
  const std::vector<float>& Input(int seq, int position);
  // Query, key or value head, by its place among the projection's rows, rotated.
  std::vector<double> Head(int seq, int position, int head);
  // As the cache keeps a head: of FP8 the codes' numbers by their scale.
  std::vector<double> Kept(std::vector<double> head_values, int head) const;

  Backend& backend_;
  const AttentionShape shape_;
  const std::vector<int> lengths_;
  const Projection projection_;
  std::vector<int> written_;                             // tokens of each sequence
  std::vector<std::vector<std::vector<float>>> inputs_;  // by sequence and position, once asked for
  int max_blocks_ = 0;
  std::vector<std::int32_t> block_tables_;
  std::unique_ptr<LinearWeight> qkv_;
  DeviceFloats rope_;
  const DType kept_;  // of the cache
  DeviceFloats keys_;
  DeviceFloats values_;
};

}  // namespace thinkwire::worker::kernels
