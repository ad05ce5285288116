#pragma once

#include "worker/kernels/expert_router.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/moe_ffn.h"

namespace thinkwire::worker::model {

kernels::RoutingRule RoutingRuleOf(const MoeConfig& config);

// The rank's share of MoePart's weights. The correction bias stays as exact as it is stored.
MoeWeights LoadMoe(const MoeConfig& config, const PartPlan& part, const LoadPlace& place);

}  // namespace thinkwire::worker::model
