#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/engine/runner.h"
#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// One step's StepPlan as device arrays, and the block tables that outlive it.
// Owns: the arrays, allocated at start for the limits. Threads: the rank's.
//
// All i32 arrays of a step lie in one piece at fixed places, so that a step costs one copy and a
// recorded step finds them where they were.
class Batch {
 public:
  // `backend` must outlive the batch.
  Batch(const engine::RunnerLimits& limits, kernels::Backend& backend);

  // Copies the plan to the device and gathers its input ids. last_sampled i32 [Q].
  // REQUIRES: a plan within the limits (Checked: a wrong plan is the engine's bug).
  void Load(const engine::StepPlan& plan, const kernels::Tensor& last_sampled);

  const kernels::BatchView& view() const { return view_; }
  std::int64_t num_tokens() const { return view_.num_tokens; }
  std::int64_t num_logits() const { return num_logits_; }  // rows that draw

  kernels::Tensor ids() const { return Field(kIds, num_tokens()); }                 // i32 [T]
  kernels::Tensor logit_tokens() const { return Field(kLogitToken, num_logits_); }  // i32 [L]

  // For the rows that draw; slot_sampling and vocab_size are left to the sampler.
  kernels::SampleView sample_view() const;

 private:
  // Arrays of the step, each with room for the limits.
  enum FieldId : int {
    kPositions,
    kTokenSeq,
    kGivenIds,
    kSourceSlot,
    kIds,  // written by the device
    kQueryStart,
    kSeqSlot,
    kLogitToken,
    kLogitSlot,
    kLogitPosition,
    kLogitGivenId,
    kLogitSourceSlot,
    kLogitInputId,  // written by the device
    kLogitPhase,    // u8
    kNumFields,
  };

  kernels::Tensor Field(FieldId field, std::int64_t size) const;
  std::int32_t* Host(FieldId field) { return host_.data() + offsets_[field]; }
  const std::int32_t* Device(FieldId field) const;

  void AddRow(const engine::Row& row, std::span<const std::int32_t> input_ids);
  void AddLogit(const engine::Row& row, std::int32_t last_id, std::int32_t source_slot);
  void ApplyBlockTables(std::span<const engine::BlockTableChange> changes);

  kernels::Backend& backend_;
  const engine::RunnerLimits limits_;
  const std::int32_t max_blocks_;  // M
  std::int64_t offsets_[kNumFields + 1] = {};
  std::vector<std::int32_t> host_;
  std::vector<std::int32_t> run_;  // of neighbouring block table entries
  kernels::Buffer step_;
  kernels::Buffer block_tables_;  // i32 [Q, M]
  kernels::BatchView view_;
  std::int64_t num_logits_ = 0;
};

}  // namespace thinkwire::worker::model
