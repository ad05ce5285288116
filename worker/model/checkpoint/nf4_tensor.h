#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// The quant_method of folders that have such matrices.
inline constexpr char kBitsandbytes[] = "bitsandbytes";

// A matrix [N, K] as bitsandbytes stores it in four bits (NF4 of QLoRA, arXiv:2305.14314, section
// 3), its elements in one row after another cut into blocks of B, whatever row they are of:
//   w = bf16(map[q] * absmax of its block)
// Its tensors, beside which the state says B and more; the first of two q is in the high nibble:
//   weight            U8, N K / 2 of them
//   weight.quant_map  F32 [16]
//   weight.absmax     F32 [ceil(N K / B)]; or U8, "nested": an absmax then is
//                     nested_quant_map[u8] * nested_absmax of its C neighbours + offset, in float
//   weight.nested_quant_map F32 [256], weight.nested_absmax F32
//   weight.quant_state.bitsandbytes__nf4  U8, the state as JSON: quant_type, blocksize (B), dtype,
//                     shape [N, K], nested_blocksize (C), nested_offset
// It is bf16 for a device. Points into the checkpoint. Threads: immutable once its contents are
// checked.
class Nf4Tensor {
 public:
  // Whether the checkpoint has the tensor `weight` ("….up_proj.weight") in this form.
  static bool IsIn(const Checkpoint& checkpoint, const std::string& weight);

  // Finds its tensors and checks their form. REQUIRES: IsIn.
  // Fails: INVALID_ARGUMENT, naming file and tensor.
  static absl::StatusOr<Nf4Tensor> Find(const Checkpoint& checkpoint, const std::string& weight,
                                        std::int64_t rows, std::int64_t cols);

  // Those that it consists of.
  const std::vector<const CheckpointTensor*>& stored() const { return stored_; }

  // Computes the largest magnitude of each block. REQUIRES: all that is F32 is finite.
  // Fails: INVALID_ARGUMENT, naming file and tensor, for weights beyond those of BF16.
  absl::Status CheckContents();

  // In BF16. REQUIRES: the contents are checked.
  HostSlice Slice(const Region& region) const;

 private:
  // What the state says.
  struct State {
    std::int64_t block = 0;
    std::int64_t nested_block = 0;  // 0: not nested
    float nested_offset = 0;
  };

  static absl::StatusOr<State> ReadState(const CheckpointTensor& tensor, std::int64_t rows,
                                         std::int64_t cols);

  absl::StatusOr<const CheckpointTensor*> Take(const Checkpoint& checkpoint,
                                               const std::string& name, absl::string_view dtype,
                                               std::int64_t elements);
  absl::Status TakeScales(const Checkpoint& checkpoint, const std::string& weight);
  // Of block `block`, as stored.
  float MostOf(std::int64_t block) const;

  State state_;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::vector<const CheckpointTensor*> stored_;
  const CheckpointTensor* q_ = nullptr;
  const CheckpointTensor* map_ = nullptr;
  const CheckpointTensor* absmax_ = nullptr;
  const CheckpointTensor* nested_map_ = nullptr;     // null: not nested
  const CheckpointTensor* nested_absmax_ = nullptr;  // likewise
  std::vector<float> most_;                          // by block
};

}  // namespace thinkwire::worker::model
