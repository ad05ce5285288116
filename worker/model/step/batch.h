#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/step/staging.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// What a step's draws take beyond one Draw over the model's logits. Each takes what those before it
// take; a step's is the greatest of its rows'.
enum class DrawKind : std::uint8_t {
  kPlain,     // nothing
  kReported,  // Logprobs, as a row asks for alternatives
  // AdjustLogits, for parameters or masks, and CountDraws; the model's own log probabilities come
  // from Logprobs
  kAdjusted,
};

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
  // REQUIRES: a plan within the limits, in which rows that draw more than one token are not
  // adjusted: what penalties count of the later ones is not known yet; with a bucket, every row is
  // one token that draws, and there are at most `bucket` of them (Checked: a wrong plan is the
  // engine's bug).
  void Load(const step::Plan& plan, std::int32_t bucket = 0);

  // A step of padding alone. REQUIRES: within the limits, tokens >= seqs and draws.
  void LoadPadding(std::int32_t tokens, std::int32_t seqs, std::int32_t draws);

  // Gathers the step's input ids on the device. last_drawn i32 [Q].
  void GatherIds(const kernels::Tensor& last_drawn);

  // Of the step with its padding. The views point to device memory.
  const kernels::BatchView& view() const { return view_; }
  std::int64_t num_tokens() const { return view_.num_tokens; }
  std::int64_t num_logits() const { return num_logits_; }  // draws

  kernels::Tensor ids() const;           // i32 [T]
  kernels::Tensor logit_tokens() const;  // i32 [L]

  // A row of logits a draw, in the order of the tokens that they follow; vocab_size is left to the
  // sampler.
  kernels::DrawView draw_view() const;

  DrawKind kind() const { return kind_; }

  // Without what the sampler knows: ids, vocab_size and where results go. REQUIRES: not plain.
  kernels::LogprobsView logprobs_view() const;
  // The slots' biases and counts, up to the step's draws, and its masks.
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
    kLogitMask,          // only in one that is adjusted
    kNumFields,
  };

  struct Shape {
    std::int32_t tokens = 0;
    std::int32_t seqs = 0;
    std::int32_t logits = 0;
    DrawKind kind = DrawKind::kPlain;
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
  void AddDraws(const step::Row& row, Shape& filled);  // of the row that was added last
  void Pad(const Shape& filled);
  Changes AddBlockChanges(std::span<const step::BlockTableChange> changes);
  Changes AddSamplingChanges(std::span<const step::SamplingChange> changes);
  Counting AddCounting(const step::Plan& plan);
  std::int64_t AddBiases(const step::Plan& plan);  // where they lie
  std::int64_t AddMasks(const step::Plan& plan);
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

  std::vector<std::int32_t> think_end_ids_;  // by slot, as its parameters say

  // Of the step that is loaded.
  std::int32_t* host_ = nullptr;  // until it is sent
  std::int64_t words_ = 0;        // in use
  std::array<std::int64_t, kNumFields> offsets_ = {};
  kernels::BatchView view_;
  std::int64_t num_logits_ = 0;
  DrawKind kind_ = DrawKind::kPlain;
  std::int64_t masks_ = 0;  // where they lie
};

}  // namespace thinkwire::worker::model
