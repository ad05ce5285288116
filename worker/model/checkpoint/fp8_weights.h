#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// Weights that are not packed, of which the layers' matrices become FP8 (kernels/blocks_fp8.h) as
// they are asked for, each block of 128 x 128 under one scale: the numbers that Requantize writes
// for RequantizedAs::kFp8Block, whatever region they are asked for in. Embedding, head, norms and
// biases are as they were.
// Owns: where they come from. Threads: as WeightSource.
class Fp8Weights final : public WeightSource {
 public:
  // Tells the plan how its matrices are kept from now on. REQUIRES: none of them is packed.
  // Fails: INVALID_ARGUMENT, naming a tensor whose columns are no whole blocks.
  static absl::StatusOr<std::unique_ptr<Fp8Weights>> Over(std::unique_ptr<WeightSource> dense,
                                                          ModelPlan& plan);

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override;
  std::uint64_t identity() const override;
  std::string stored_as() const override { return dense_->stored_as() + ", made FP8"; }

 private:
  explicit Fp8Weights(std::unique_ptr<WeightSource> dense) : dense_(std::move(dense)) {}

  const std::unique_ptr<WeightSource> dense_;
};

}  // namespace thinkwire::worker::model
