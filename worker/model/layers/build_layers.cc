#include "worker/model/layers/build_layers.h"

#include "common/check.h"
#include "worker/model/layers/dense_ffn.h"
#include "worker/model/layers/grouped_query.h"
#include "worker/model/layers/load_moe.h"
#include "worker/model/layers/mla.h"
#include "worker/model/layers/moe_ffn.h"

namespace thinkwire::worker::model {
namespace {

std::unique_ptr<LayerPart> BuildPart(const ModelConfig& config, const PartPlan& part,
                                     const PartPlace& place) {
  switch (part.kind) {
    case PartKind::kGroupedQuery:
      return std::make_unique<GroupedQuery>(part, place);
    case PartKind::kDenseFfn:
      return std::make_unique<DenseFfn>(part, place);
    case PartKind::kMla:
      return std::make_unique<Mla>(*config.mla, part, place);
    case PartKind::kMoe:
      return std::make_unique<MoeFfn>(RoutingRuleOf(*config.moe),
                                      LoadMoe(*config.moe, part, place.load), place.scratch,
                                      place.load.backend);
  }
  CHECK(false, "a part of no kind");
}

}  // namespace

std::vector<Layer> BuildLayers(const ModelPlan& plan, const PartPlace& place) {
  CHECK(!plan.layers.empty(), "a model without layers");
  std::vector<Layer> layers;
  for (const LayerPlan& layer_plan : plan.layers) {
    Layer& layer = layers.emplace_back();
    for (const PartPlan& part : layer_plan) {
      kernels::Buffer norm = LoadTable(part.norm, place.load);
      layer.push_back({std::move(norm), BuildPart(plan.config, part, place)});
    }
    CHECK(!layer.empty(), "a layer without parts");
  }
  return layers;
}

}  // namespace thinkwire::worker::model
