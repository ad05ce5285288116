#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/packed_numbers.h"
#include "worker/model/checkpoint/quantization_config.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// How rows of `cols` columns are kept: in the largest blocks that divide a group.
kernels::Encoding EncodingOf(const GroupScheme& scheme, std::int64_t cols);

// A matrix [N, K] of a checkpoint that is stored as whole numbers q, with a scale s and a zero
// point z for each row's groups of columns: w = bf16(float(q - z) * s). Its tensors, for b bits and
// groups of g columns; a word has 32 / b numbers, the first lowest unless said otherwise:
//   AWQ gemm        qweight I32 [K, N b/32], words along N; number i of eight is in place
//                   [0, 4, 1, 5, 2, 6, 3, 7][i]; qzeros I32 [K/g, N b/32], likewise;
//                   scales [K/g, N]
//   GPTQ            qweight I32 [K b/32, N], words along K; qzeros I32 [K/g, N b/32], words along
//                   N; scales [K/g, N]; g_idx I32 [K], the group of each column
//   pack-quantized  weight_packed I32 [N, K b/32], words along K; weight_scale [N, K/g];
//                   weight_zero_point I32 [ceil(N b/32), K/g], words along N;
//                   weight_g_idx I32 [K]; weight_shape I64 [2]
//   int-quantized   weight I8 [N, K], which is q - 128; weight_scale [N, 1]
//   float-quantized weight F8_E4M3 [N, K]; weight_scale [N, 1], [1] for all, or as FP8's
//   FP8 blocks      weight F8_E4M3 [N, K]; weight_scale_inv [ceil(N/128), ceil(K/128)]
// Scales are F16, BF16 or F32; those of whole numbers such that one of the first two would hold
// them.
// Where the columns of a group do not stand together, those here are in an order of their own, by
// group and then as in the file, and order() says which input each multiplies.
// Points into the checkpoint. Threads: immutable once its contents are checked.
class GroupedTensor {
 public:
  // Finds the tensors of `module` and checks their form.
  // Fails: INVALID_ARGUMENT, naming file and tensor.
  static absl::StatusOr<GroupedTensor> Find(const Checkpoint& checkpoint, const std::string& module,
                                            std::int64_t rows, std::int64_t cols,
                                            const GroupScheme& scheme);

  // Those that it consists of.
  const std::vector<const CheckpointTensor*>& stored() const { return stored_; }

  // Reads what decides how the numbers are to be understood.
  // Fails: INVALID_ARGUMENT, naming file and tensor.
  absl::Status CheckContents();

  // Of blocks that divide a group.
  kernels::Encoding encoding() const { return encoding_; }
  // [K], or empty: the inputs as they come.
  std::span<const std::int32_t> order() const { return order_; }

  // Of e4m3 the byte, and no zero point.
  std::uint8_t q(std::int64_t row, std::int64_t col) const;
  std::uint32_t zero(std::int64_t row, std::int64_t group) const;
  float scale(std::int64_t row, std::int64_t group) const;

  // In blocks of encoding(). REQUIRES: the contents are checked; whole blocks, and of an order all
  // columns.
  HostSlice Slice(const Region& region) const;

 private:
  struct Shape {
    std::int64_t rows;
    std::int64_t cols;
  };
  struct Scales {
    const CheckpointTensor* tensor = nullptr;
    std::int64_t rows = 1;  // that share one
    std::int64_t row_stride = 0;
    std::int64_t group_stride = 0;
  };

  GroupedTensor(const Shape& shape, const GroupScheme& scheme);

  std::int64_t num_groups() const { return shape_.cols / group_size_; }
  absl::Status FindAwq(const Checkpoint& checkpoint, const std::string& module);
  absl::Status FindGptq(const Checkpoint& checkpoint, const std::string& module);
  absl::Status FindPackQuantized(const Checkpoint& checkpoint, const std::string& module);
  absl::Status FindBytes(const Checkpoint& checkpoint, const std::string& module);
  absl::StatusOr<const CheckpointTensor*> Take(const Checkpoint& checkpoint,
                                               const std::string& name,
                                               std::span<const absl::string_view> dtypes,
                                               const std::vector<std::int64_t>& shape);
  absl::Status TakeGroupsOfColumns(const Checkpoint& checkpoint, const std::string& name);

  absl::Status CheckStatedShape() const;
  absl::Status CheckZeros() const;
  absl::Status CheckScales() const;
  absl::Status SetOrder();
  void WriteRows(const Region& region, std::int64_t first, std::int64_t end, char* to) const;

  Shape shape_;
  GroupScheme scheme_;
  std::int64_t group_size_ = 0;
  kernels::Encoding encoding_ = kernels::Encoding::kInt4;
  std::vector<const CheckpointTensor*> stored_;
  PackedNumbers q_;
  PackedNumbers zeros_;
  const CheckpointTensor* stored_zeros_ = nullptr;
  Scales scales_;
  const CheckpointTensor* groups_of_columns_ = nullptr;
  const CheckpointTensor* stated_shape_ = nullptr;
  std::vector<std::int32_t> order_;
};

}  // namespace thinkwire::worker::model
