#include "worker/model/batch.h"

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

constexpr std::size_t kI32 = sizeof(std::int32_t);

}  // namespace

Batch::Batch(const engine::RunnerLimits& limits, kernels::Backend& backend)
    : backend_(backend),
      limits_(limits),
      max_blocks_((limits.max_model_len + limits.block_tokens - 1) / limits.block_tokens) {
  const std::int64_t tokens = limits.max_num_batched_tokens;
  const std::int64_t seqs = limits.max_num_seqs;
  for (int field = 0; field < kNumFields; ++field) {
    const std::int64_t size = field <= kIds ? tokens : seqs + 1;
    offsets_[field + 1] = offsets_[field] + size;
  }
  host_.resize(static_cast<std::size_t>(offsets_[kNumFields]));
  run_.reserve(static_cast<std::size_t>(max_blocks_));
  step_ = backend.Allocate(host_.size() * kI32);
  block_tables_ = backend.Allocate(static_cast<std::size_t>(seqs) *
                                   static_cast<std::size_t>(max_blocks_) * kI32);
}

Tensor Batch::Field(FieldId field, std::int64_t size) const {
  return kernels::MakeTensor(static_cast<std::int32_t*>(step_.data()) + offsets_[field],
                             kernels::DType::kI32, size);
}

const std::int32_t* Batch::Device(FieldId field) const {
  return static_cast<const std::int32_t*>(step_.data()) + offsets_[field];
}

void Batch::Load(const engine::StepPlan& plan, const Tensor& last_sampled) {
  CHECK(!plan.rows.empty(), "a plan without rows");
  ApplyBlockTables(plan.block_table_changes);
  view_ = {};
  view_.max_blocks = max_blocks_;
  num_logits_ = 0;
  for (const engine::Row& row : plan.rows) AddRow(row, plan.input_ids);
  Host(kQueryStart)[view_.num_seqs] = view_.num_tokens;
  view_.positions = Device(kPositions);
  view_.token_seq = Device(kTokenSeq);
  view_.query_start = Device(kQueryStart);
  view_.seq_slot = Device(kSeqSlot);
  view_.block_tables = static_cast<const std::int32_t*>(block_tables_.data());
  backend_.CopyToDevice(step_.data(), host_.data(), host_.size() * kI32);
  backend_.GatherInputIds(Field(kGivenIds, num_tokens()), Field(kSourceSlot, num_tokens()),
                          last_sampled, ids());
  if (num_logits_ > 0) {
    backend_.GatherInputIds(Field(kLogitGivenId, num_logits_), Field(kLogitSourceSlot, num_logits_),
                            last_sampled, Field(kLogitInputId, num_logits_));
  }
}

void Batch::AddRow(const engine::Row& row, std::span<const std::int32_t> input_ids) {
  const bool from_device = row.first_id == engine::kLastSampled;
  CHECK(row.slot >= 0 && row.slot < limits_.max_num_seqs, "a row's slot is out of range");
  CHECK(row.count >= 1 && (!from_device || row.count == 1), "a row's count is out of range");
  CHECK(row.first_position >= 0 && row.count <= limits_.max_model_len - row.first_position,
        "a row passes max_model_len");
  CHECK(view_.num_seqs < limits_.max_num_seqs &&
            row.count <= limits_.max_num_batched_tokens - view_.num_tokens,
        "a plan passes max_num_seqs or max_num_batched_tokens");
  CHECK(from_device || (row.first_id >= 0 && static_cast<std::size_t>(row.first_id) +
                                                     static_cast<std::size_t>(row.count) <=
                                                 input_ids.size()),
        "a row's ids are not in the plan");
  const std::int32_t seq = view_.num_seqs++;
  Host(kQueryStart)[seq] = view_.num_tokens;
  Host(kSeqSlot)[seq] = row.slot;
  const std::int32_t source_slot = from_device ? row.slot : -1;
  std::int32_t id = 0;
  for (std::int32_t i = 0; i < row.count; ++i) {
    const std::int32_t token = view_.num_tokens++;
    if (!from_device) id = input_ids[static_cast<std::size_t>(row.first_id + i)];
    CHECK(id >= 0 && id < limits_.vocab_size, "an input id is out of range");
    Host(kPositions)[token] = row.first_position + i;
    Host(kTokenSeq)[token] = seq;
    Host(kGivenIds)[token] = id;
    Host(kSourceSlot)[token] = source_slot;
  }
  if (row.sample) AddLogit(row, id, source_slot);
}

void Batch::AddLogit(const engine::Row& row, std::int32_t last_id, std::int32_t source_slot) {
  const std::int64_t l = num_logits_++;
  Host(kLogitToken)[l] = view_.num_tokens - 1;
  Host(kLogitSlot)[l] = row.slot;
  Host(kLogitPosition)[l] = row.first_position + row.count;
  Host(kLogitGivenId)[l] = last_id;
  Host(kLogitSourceSlot)[l] = source_slot;
  reinterpret_cast<std::uint8_t*>(Host(kLogitPhase))[l] = static_cast<std::uint8_t>(row.phase);
}

// Entries that follow each other in a table travel in one copy.
void Batch::ApplyBlockTables(std::span<const engine::BlockTableChange> changes) {
  for (std::size_t i = 0; i < changes.size();) {
    const engine::BlockTableChange& first = changes[i];
    run_.clear();
    for (; i < changes.size(); ++i) {
      const engine::BlockTableChange& change = changes[i];
      const auto index = first.index + static_cast<std::int32_t>(run_.size());
      if (change.slot != first.slot || change.index != index) break;
      CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs && change.index >= 0 &&
                change.index < max_blocks_ && change.block >= 0 &&
                change.block < limits_.num_blocks,
            "a block table change is out of range");
      run_.push_back(change.block);
    }
    auto* table = static_cast<std::int32_t*>(block_tables_.data());
    const std::int64_t at = static_cast<std::int64_t>(first.slot) * max_blocks_ + first.index;
    backend_.CopyToDevice(table + at, run_.data(), run_.size() * kI32);
  }
}

kernels::SampleView Batch::sample_view() const {
  kernels::SampleView view;
  view.num_rows = static_cast<std::int32_t>(num_logits_);
  view.slots = Device(kLogitSlot);
  view.positions = Device(kLogitPosition);
  view.input_ids = Device(kLogitInputId);
  view.phases = reinterpret_cast<const std::uint8_t*>(Device(kLogitPhase));
  return view;
}

}  // namespace thinkwire::worker::model
