#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::engine {

// What the fake model draws. Pure: the same ids, parameters and script give the same token.
class FakeModel {
 public:
  struct Draw {
    std::int32_t id = 0;
    float logprob = 0;
    bool not_finite = false;
    std::vector<step::Alternative> alternatives = {};  // kMaxAlternatives
  };

  // Lower ids come from the script alone, so that no test ends by chance.
  static constexpr std::int32_t kFirstPlain = 10;

  // REQUIRES: vocab_size > kFirstPlain.
  explicit FakeModel(std::int32_t vocab_size) : vocab_size_(vocab_size) {}

  // The sequences with `seed` draw `id` at `position`, whatever came before.
  void Script(std::uint64_t seed, std::int32_t position, std::int32_t id) {
    script_[{seed, position}] = id;
  }
  // Of those, output `output` alone, whatever the others do.
  void ScriptOutput(std::uint64_t seed, std::uint32_t output, std::int32_t position,
                    std::int32_t id) {
    output_script_[{seed, output, position}] = id;
  }
  // They meet a NaN there.
  void ScriptNotFinite(std::uint64_t seed, std::int32_t position) {
    not_finite_.insert({seed, position});
  }

  // What penalties count: ids of the prompt, and how often each was drawn in the phase.
  struct Counted {
    std::set<std::int32_t> prompt;
    std::map<std::int32_t, int> drawn;
  };

  // The token that follows `ids`, drawn with the parameters and biases of `phase`: a hash of all of
  // them.
  Draw Next(std::span<const std::int32_t> ids, const step::SamplingParams& params,
            std::span<const step::LogitBias> biases, step::Phase phase,
            const Counted& counted) const;

 private:
  const std::int32_t vocab_size_;
  std::map<std::pair<std::uint64_t, std::int32_t>, std::int32_t> script_;
  std::map<std::tuple<std::uint64_t, std::uint32_t, std::int32_t>, std::int32_t> output_script_;
  std::set<std::pair<std::uint64_t, std::int32_t>> not_finite_;
};

// A small honest Runner. It keeps the input ids in a KV store that is addressed by block and
// offset, and draws from the ids that it reads back through the block tables: a wrong table, a
// block freed too early, a wrong position or a neighbour's tokens of the same step change the text.
// CHECKs that every plan is legal. A row that draws several times gives the draws that stand: up to
// the first one that is not the input which follows it.
// Threads: Submit and Collect one thread; the gate and the counts any.
class FakeRunner final : public step::Runner {
 public:
  enum class When { kOnSubmit, kOnCollect };  // a plan is computed

  // `model` is not changed any more.
  FakeRunner(const step::Limits& limits, FakeModel model, When when = When::kOnCollect);

  const step::Limits& limits() const override { return limits_; }
  void Submit(step::Plan plan) override;
  step::Result Collect() override;
  std::vector<step::RankBeat> beats() const override;  // two ranks, both at the last step given

  // Rows may begin before the slot's next position from now on, as those of sequences that went
  // back do. Otherwise that is a fault of the plan's.
  void AllowGoingBack() { may_go_back_ = true; }
  // Each row that draws keeps so many of its last ids to itself from now on, as far as it has them.
  // Called where plans are computed.
  void Withhold(std::function<std::int32_t()> withheld) { withheld_ = std::move(withheld); }

  // While the gate is closed Collect waits, but for `steps` more steps let through.
  void CloseGate();
  void OpenGate();
  void LetThrough(int steps);
  // Until Collect waits at the gate.
  void WaitUntilBlocked();

  std::uint64_t submitted() const;
  std::vector<step::Plan> plans() const;  // all that were submitted

 private:
  struct Slot {
    std::vector<std::int32_t> table;  // block by index; -1: unknown
    step::SamplingParams params;
    step::PerPhase<std::vector<step::LogitBias>> biases = {};
    bool has_params = false;
    std::int32_t next_position = 0;
    std::int32_t last_id = -1;
    std::int32_t last_id_position = -1;
    FakeModel::Counted counted;
    step::Phase counted_phase = step::Phase::kReasoning;  // of counted.drawn
  };

  void CheckShape(const step::Plan& plan) const;
  step::Result Compute(const step::Plan& plan);
  void ApplyChanges(const step::Plan& plan, std::set<std::int32_t>& restarted);
  std::vector<std::int32_t> RowInputs(const step::Plan& plan, const step::Row& row) const;
  std::int32_t& Cell(const Slot& slot, std::int32_t position);
  void WriteRow(const step::Plan& plan, const step::Row& row,
                std::map<std::int32_t, std::int32_t>& writer);
  std::vector<std::int32_t> ReadCells(std::int32_t slot, std::int32_t first, std::int32_t end);
  void BeginCounts(const step::Plan& plan, const step::SamplingChange& change, Slot& slot) const;
  void PlaceRow(const step::Row& row, bool restarted);
  std::span<const step::MaskWord> MaskOf(const step::Plan& plan, const step::Row& row) const;
  FakeModel::Draw DrawAfter(const step::Row& row, std::span<const std::int32_t> ids,
                            step::Phase phase, std::span<const step::MaskWord> mask);
  void DrawRow(const step::Row& row, std::span<const std::int32_t> ids,
               std::span<const step::MaskWord> mask, step::Result& result);

  const step::Limits limits_;
  const FakeModel model_;
  const When when_;

  // Engine thread only.
  std::vector<Slot> slots_;
  std::vector<std::int32_t> store_;  // [num_blocks, block_tokens]
  std::deque<step::Plan> plans_in_flight_;
  std::deque<step::Result> results_in_flight_;
  std::uint64_t last_step_ = 0;
  bool may_go_back_ = false;
  std::function<std::int32_t()> withheld_ = [] { return 0; };

  mutable Mutex mu_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  int let_through_ ABSL_GUARDED_BY(mu_) = 0;
  bool blocked_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<step::Plan> history_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::engine
