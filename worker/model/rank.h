#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/decoder.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_model.h"
#include "worker/model/step/batch.h"
#include "worker/model/step/heartbeat.h"
#include "worker/model/step/sampler.h"
#include "worker/model/step/step_stamps.h"
#include "worker/parallel/communicator.h"
#include "worker/parallel/muted_communicator.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// One rank of a loaded model. Gives its device one step after another and waits for none of them.
// Threads: built and used on the rank's own.
class Rank {
 public:
  // Loads the rank's share of `source`, which is not used afterwards. `plan`, `backend` and
  // `communicator` must outlive the rank.
  Rank(const ModelPlan& plan, const RankShape& shape, const step::Limits& limits,
       const WeightSource& source, std::span<const float> rope, kernels::Backend& backend,
       parallel::Communicator& communicator);
  ~Rank();  // waits for the device

  // Where the backend records: computes the largest step once, without the other ranks. What is
  // loaded or made at first use (a library's kernels, its choices among them) may wait for all that
  // runs on this device and its peers, so no rank may wait for another meanwhile.
  void WarmUp();

  // Where the backend gains by it, records a decode-only step of each bucket, and another up to its
  // logits for steps that are not plain: from then on such steps are padded and replayed. All ranks
  // call it together, once all are warm and before any step.
  void RecordDecodes();

  // Computes `plan` and draws, between two stamps if there are any.
  void Step(const step::Plan& plan, StepStamps* stamps);

  // What the last Step drew, as Sampler::drawn; L = 0 if nothing.
  kernels::Tensor drawn() const { return sampler_.drawn(batch_); }

  // Instead of Step: computes `plan` up to its logits, as Decoder::Forward returns them.
  kernels::Tensor Forward(const step::Plan& plan);

  const RankModel& model() const { return model_; }

  // Threads: any.
  const Heartbeat& heartbeat() const { return heartbeat_; }

 private:
  // Recorded decode-only steps of one bucket.
  struct Decode {
    std::unique_ptr<kernels::Replay> step;
    std::unique_ptr<kernels::Replay> to_logits;
    kernels::Tensor logits;  // of to_logits
  };

  // Loads the batch, and says which recording replays it: null where none does.
  const Decode* Load(const step::Plan& plan);

  // The step that the batch holds, up to its logits or through its draws. Reads nothing from the
  // host but the step's shape.
  kernels::Tensor ComputeLogits();
  void ComputeStep();

  const step::Limits limits_;
  kernels::Backend& backend_;
  const RankShape shape_;
  // Before the weights: a step of a small model took 1 % longer on an H200 where the KV cache came
  // after what the parts allocate (tests/bench/RESULTS.md).
  const KvCache kv_cache_;
  const RankModel model_;
  Heartbeat heartbeat_;
  Batch batch_;
  Sampler sampler_;
  parallel::MutedCommunicator communicator_;
  Decoder decoder_;
  std::map<std::int32_t, Decode> decodes_;  // by bucket
};

}  // namespace thinkwire::worker::model
