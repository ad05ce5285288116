#pragma once

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_model.h"
#include "worker/model/step/batch.h"
#include "worker/model/step/heartbeat.h"
#include "worker/parallel/communicator.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// What a decoder stands on; all of it must outlive the decoder and belong to its rank.
struct DecoderParts {
  const ModelPlan& plan;
  const RankShape& shape;
  const RankModel& model;
  const KvCache& kv_cache;
  kernels::Backend& backend;
  parallel::Communicator& communicator;
  Heartbeat& heartbeat;  // a beat a layer
};

// The pre-norm decoder of Qwen2, Llama and DeepseekV3:
//   x = embed[id]; per part of each layer: x += part(norm(x)); logits = head(norm(x))
// Which kinds of part a layer has is not known here.
// Owns: the activations between parts. Threads: the rank's; all ranks call Forward with the same
// batch.
class Decoder {
 public:
  Decoder(const DecoderParts& parts, const step::Limits& limits);

  // Computes the batch's tokens into the KV cache. Returns the logits of the tokens that a draw
  // follows, f32 [L, V of all ranks and its padding], valid until the next call; L may be 0.
  kernels::Tensor Forward(const Batch& batch);

 private:
  // out = the embeddings of the ids, act [T, E].
  void Embed(const kernels::Tensor& ids, const kernels::Tensor& out);
  // x = the layers' output after the final norm, for every token.
  void RunLayers(const Batch& batch, const kernels::Tensor& x);
  // x's rows of the tokens that a draw follows, act [L, E].
  kernels::Tensor RowsThatDraw(const Batch& batch, const kernels::Tensor& x);
  kernels::Tensor NormWeight(const kernels::Buffer& weight) const;

  const DecoderParts parts_;
  // The residual stream lies in one of the two, its next sum goes to the other (ResidualNorm).
  Activation residual_;
  Activation next_residual_;
  Activation x_;
  Activation partial_;
  Activation last_x_;        // of the tokens that a draw follows
  Activation local_logits_;  // this rank's columns
  Activation logits_;        // all ranks' columns; no rows with one rank
};

}  // namespace thinkwire::worker::model
