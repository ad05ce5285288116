#include "worker/model/layers/build_layers.h"

#include "common/check.h"
#include "worker/model/layers/dense_ffn.h"
#include "worker/model/layers/grouped_query.h"

namespace thinkwire::worker::model {
namespace {

std::unique_ptr<LayerPart> BuildPart(const PartPlan& part, const PartPlace& place) {
  CHECK(part.weights.size() == 2, "both kinds of part have two weights");
  switch (part.kind) {
    case PartKind::kGroupedQuery:
      return std::make_unique<GroupedQuery>(part, place);
    case PartKind::kDenseFfn:
      return std::make_unique<DenseFfn>(part, place);
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
      layer.push_back({std::move(norm), BuildPart(part, place)});
    }
    CHECK(!layer.empty(), "a layer without parts");
  }
  return layers;
}

}  // namespace thinkwire::worker::model
