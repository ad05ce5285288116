#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "worker/model/checkpoint/model_plan.h"

// What plans are written with.
namespace thinkwire::worker::model {

inline PlannedTensor Vector(std::string name, std::int64_t size,
                            Division division = Division::kWhole) {
  return {.spec = {std::move(name), size, 1, true}, .division = division};
}

// A matrix of which a rank takes rows; `unit` as PlannedTensor's.
inline PlannedTensor Rows(std::string name, std::int64_t rows, std::int64_t cols, Division division,
                          std::int64_t unit = 0) {
  return {.spec = {std::move(name), rows, cols, false}, .division = division, .unit = unit};
}

inline PlannedTensor Columns(std::string name, std::int64_t rows, std::int64_t cols,
                             Division division) {
  return {
      .spec = {std::move(name), rows, cols, false}, .division = division, .axis = Axis::kColumns};
}

// A SwiGLU block's two weights, [2 F, E] and [E, F], of the module `name` ("model.layers.0.mlp."),
// its F columns divided as `division` says.
inline std::vector<PlannedWeight> PlanSwiGlu(const std::string& name, std::int64_t e,
                                             std::int64_t f, Division division) {
  return {{.layout = kernels::LinearLayout::kGateUp,
           .matrices = {Rows(name + "gate_proj.weight", f, e, division),
                        Rows(name + "up_proj.weight", f, e, division)}},
          {.matrices = {Columns(name + "down_proj.weight", e, f, division)}}};
}

}  // namespace thinkwire::worker::model
