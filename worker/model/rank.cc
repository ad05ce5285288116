#include "worker/model/rank.h"

#include "worker/model/step/decode_buckets.h"

namespace thinkwire::worker::model {

Rank::Rank(const ModelPlan& plan, const RankShape& shape, const step::Limits& limits,
           const WeightSource& source, std::span<const float> rope, kernels::Backend& backend,
           parallel::Communicator& communicator)
    : limits_(limits),
      backend_(backend),
      shape_(shape),
      kv_cache_(KvLayoutOf(plan, shape, limits.block_tokens, backend.capabilities().activation),
                limits.num_blocks, backend),
      model_(plan, {shape_, source, backend}, limits.max_num_batched_tokens, rope),
      batch_(limits, backend),
      sampler_(limits, backend),
      communicator_(communicator),
      decoder_({plan, shape_, model_, kv_cache_, backend, communicator_, heartbeat_}, limits) {
  backend_.Reserve(StepExtentOf(plan, shape, limits));
  backend_.ReserveParts(PartsExtentOf(plan, shape, limits));
}

// The device may still read and write what the members free.
Rank::~Rank() { backend_.Synchronize(); }

void Rank::WarmUp() {
  if (!backend_.capabilities().gains_by_recording) return;
  communicator_.Mute();
  batch_.LoadPadding(limits_.max_num_batched_tokens, limits_.max_num_seqs, limits_.most_draws());
  ComputeStep();
  backend_.Synchronize();
  communicator_.Unmute();
}

void Rank::RecordDecodes() {
  if (!backend_.capabilities().gains_by_recording) return;
  if (communicator_.size() > 1) {  // what it makes at first use must not be made while recording
    batch_.LoadPadding(limits_.max_num_batched_tokens, limits_.max_num_seqs, limits_.most_draws());
    ComputeStep();
    backend_.Synchronize();  // recording allocates, which must not wait for another rank's step
  }
  for (const std::int32_t bucket : DecodeBuckets(limits_.max_num_seqs)) {
    batch_.LoadPadding(bucket, bucket, bucket);
    Decode& decode = decodes_[bucket];
    decode.step = backend_.Record([this] { ComputeStep(); });
    decode.to_logits = backend_.Record([this, &decode] { decode.logits = ComputeLogits(); });
  }
  backend_.Synchronize();  // a device that fails does so before it is asked for tokens
}

void Rank::Step(const step::Plan& plan, StepStamps* stamps) {
  heartbeat_.Step(plan.step);
  const Decode* const decode = Load(plan);
  if (stamps != nullptr) stamps->Start(plan.step);
  if (decode == nullptr) {
    ComputeStep();
  } else if (batch_.kind() == DrawKind::kPlain) {
    decode->step->Run();
  } else {
    decode->to_logits->Run();
    sampler_.Draw(decode->logits, batch_);
  }
  if (stamps != nullptr) stamps->End(plan.step);
}

const Rank::Decode* Rank::Load(const step::Plan& plan) {
  if (decodes_.empty() || !IsDecodeOnly(plan)) {
    batch_.Load(plan);
    return nullptr;
  }
  // The last bucket holds max_num_seqs rows, and no plan has more.
  const auto found = decodes_.lower_bound(static_cast<std::int32_t>(plan.rows.size()));
  batch_.Load(plan, found->first);
  return &found->second;
}

kernels::Tensor Rank::Forward(const step::Plan& plan) {
  batch_.Load(plan);
  return ComputeLogits();
}

kernels::Tensor Rank::ComputeLogits() {
  batch_.GatherIds(sampler_.last_drawn());
  return decoder_.Forward(batch_);
}

void Rank::ComputeStep() {
  const kernels::Tensor logits = ComputeLogits();
  if (batch_.num_logits() > 0) sampler_.Draw(logits, batch_);
}

}  // namespace thinkwire::worker::model
