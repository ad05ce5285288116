#pragma once

#include <string>

#include "worker/model/checkpoint/model_plan.h"

// The parts of a deepseek_v3 checkpoint's layers. `layer` opens the names: "model.layers.0.".
namespace thinkwire::worker::model {

// Latent attention. Weights, H heads: queries [H (P + R), Q or E], keys [C + R, E], the heads' keys
// and values [H (P + V), C], the result [E, H V], and where q_lora_rank is set the queries' latents
// [Q, E]. Tables: the norm of the keys' latents [C], and that of the queries' [Q].
// One plane of C + R a token, whole on every rank, since all heads read it.
// REQUIRES: config.mla.
PartPlan MlaPart(const ModelConfig& config, const std::string& layer);

// A mixture of experts. Weights: of each expert by id, then of the shared one if there is any,
// PlanSwiGlu. Ranks divide the experts, and the columns of the shared one. Tables: the router
// [X, E], which no file quantises, and its correction bias [X].
// REQUIRES: config.moe.
PartPlan MoePart(const ModelConfig& config, const std::string& layer);

// What of a DeepseekV3 only a CPU computes, by its sizes, as a message's subject; empty: nothing. A
// GPU takes latents of 512 and rotated parts of 64, as all published ones have, heads and matrices
// in whole tiles of 16, and at most 64 groups of experts.
std::string DeepseekNeedsCpu(const ModelConfig& config);

}  // namespace thinkwire::worker::model
