#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "worker/kernels/backend.h"
#include "worker/model/step/staging.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// One step's Plan as device arrays, and the slots' tables (KV blocks, sampling parameters,
// logit biases and what penalties count) that outlive it. Owns: the arrays, allocated at start for
// the limits. Threads: the rank's.
//
// All that a step takes from the host lies in one piece and travels in one copy of the bytes in
// use. Where an array that a recorded step reads lies depends on the shape T, S, L alone, so that
// it finds the arrays of every later step of its shape.
class Batch {
 public:
  // `backend` must outlive the batch.
  Batch(const step::Limits& limits, kernels::Backend& backend);

  // Sends the plan to the device. A `bucket` above 0 pads T, S and L up to it.
  // REQUIRES: a plan within the limits; with a bucket, every row is one token that draws, and
  // there are at most `bucket` of them (Checked: a wrong plan is the engine's bug).
  void Load(const step::Plan& plan, std::int32_t bucket = 0);

  // A step of padding alone, in which every sequence has a row of logits.
  void LoadPadding(std::int32_t tokens, std::int32_t seqs);

  // Gathers the step's input ids on the device. last_drawn i32 [Q].
  void GatherIds(const kernels::Tensor& last_drawn);

  // Of the step with its padding. The views point to device memory.
  const kernels::BatchView& view() const { return view_; }
  std::int64_t num_tokens() const { return view_.num_tokens; }
  std::int64_t num_logits() const { return num_logits_; }  // rows that draw

  kernels::Tensor ids() const;           // i32 [T]
  kernels::Tensor logit_tokens() const;  // i32 [L]

  // For the rows that draw; vocab_size is left to the sampler.
  kernels::DrawView draw_view() const;

  // Whether Draw over the model's logits gives the rows all that they ask for. REQUIRES for
  // logprobs_view: not so.
  bool is_plain() const { return is_plain_; }
  // Whether a row draws from adjusted logits.
  bool adjusts() const { return adjusts_; }

  // Without what the sampler knows: ids, vocab_size and where results go.
  kernels::LogprobsView logprobs_view() const;
  // The slots' biases and counts, up to the step's draws.
  kernels::AdjustView adjust_view() const;

 private:
  // Arrays of a step. kGivenIds and kSourceSlot hold the tokens' [T], then the logits rows' [L].
  enum FieldId : std::size_t {
    kPositions,
    kTokenSeq,
    kGivenIds,
    kSourceSlot,
    kQueryStart,
    kSeqSlot,
    kLogitToken,
    kLogitSlot,
    kLogitPosition,
    kLogitPhase,         // u8
    kLogitAlternatives,  // only in a step that is not plain
    kNumFields,
  };

  struct Shape {
    std::int32_t tokens = 0;
    std::int32_t seqs = 0;
    std::int32_t logits = 0;
    bool is_plain = true;
    bool adjusts = false;
  };

  // Places for a Scatter's index and values.
  struct Changes {
    std::int64_t index = 0;
    std::int64_t values = 0;
    std::int64_t size = 0;
  };

  // Places for BeginCounts' arguments.
  struct Counting {
    std::int64_t begins = 0;
    std::int64_t ids = 0;
    std::int32_t num_begins = 0;
  };

  std::int64_t WordsAtMost() const;
  Shape CheckedShape(const step::Plan& plan) const;
  void CheckRow(const step::Row& row, const step::Plan& plan) const;

  // Starts a step: places its arrays in the host memory of the next copy.
  void Begin(const Shape& shape);
  std::int64_t Append(std::int64_t words);  // returns where they lie
  void AddRow(const step::Row& row, std::span<const std::int32_t> input_ids, Shape& filled);
  void Pad(const Shape& filled);
  Changes AddBlockChanges(std::span<const step::BlockTableChange> changes);
  Changes AddSamplingChanges(std::span<const step::SamplingChange> changes);
  Counting AddCounting(const step::Plan& plan);
  std::int64_t AddBiases(const step::Plan& plan);  // where they lie
  void Apply(const Changes& changes, const kernels::Buffer& to);
  void Apply(const Counting& counting);
  void ApplyBiases(std::span<const step::SamplingChange> changes, std::int64_t from);
  kernels::Tensor counts() const;

  std::int32_t* Host(FieldId field) { return host_ + offsets_[field]; }
  std::int32_t* Device(FieldId field) const { return staging_.device() + offsets_[field]; }

  kernels::Backend& backend_;
  const step::Limits limits_;
  const std::int32_t max_blocks_;  // M
  Staging staging_;
  kernels::Buffer block_tables_;   // i32 [Q, M]
  kernels::Buffer slot_sampling_;  // SamplingParams [Q]
  kernels::Buffer ids_;            // i32, GatherIds' [T + L]
  kernels::Buffer biases_;         // LogitBias [Q, 2, kMaxLogitBiases]
  kernels::Buffer counts_;         // i32 [Q, vocab_size]

  // Of the step that is loaded.
  std::int32_t* host_ = nullptr;  // until it is sent
  std::int64_t words_ = 0;        // in use
  std::array<std::int64_t, kNumFields> offsets_ = {};
  kernels::BatchView view_;
  std::int64_t num_logits_ = 0;
  bool is_plain_ = true;
  bool adjusts_ = false;
};

}  // namespace thinkwire::worker::model
