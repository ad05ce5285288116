#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "worker/kernels/kv.h"
#include "worker/kernels/weights.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/weight_source.h"

// The model's shape, said once. Which tensors a checkpoint must hold, what is loaded and how it is
// divided among ranks, how many parameters there are, what a token leaves in the KV cache and how
// much memory all that takes: each is a loop over the plan.
namespace thinkwire::worker::model {

// What the ranks of a group divide among themselves.
enum class Division : std::uint8_t {
  kWhole,
  kQueryHeads,
  kKvHeads,
  kFfn,
  kVocabulary,
  kExperts,
  kSharedFfn,  // columns of the experts that every token has
};
inline constexpr std::size_t kNumDivisions = 7;

enum class DivisionRule : std::uint8_t {
  kWhole,   // every rank has all of it
  kEvenly,  // every rank has as many units, and none has another's
  kCopied,  // evenly while there are enough; else each rank has one, and some have the same
  kPadded,  // as kEvenly; where it does not come out even, the last ranks own units past the end
};

// How many units there are to divide, each of `unit` rows or columns of the tensors. Where an
// encoding has groups of columns that share a scale, a unit is whole groups.
struct Divided {
  DivisionRule rule = DivisionRule::kWhole;
  std::int64_t count = 1;
  std::int64_t unit = 1;
  std::string description = {};  // for messages: "28 attention heads"
};

enum class Axis : std::uint8_t { kRows, kColumns };

// A tensor of the checkpoint, and which of its rows or columns a rank takes.
struct PlannedTensor {
  TensorSpec spec;
  Division division = Division::kWhole;
  Axis axis = Axis::kRows;
  std::int64_t unit = 0;  // its rows or columns in a unit; 0: as many as Divided says
};

// Tensors that become one weight on the device: matrices stacked by rows, and biases as they are.
struct PlannedWeight {
  kernels::LinearLayout layout = kernels::LinearLayout::kPlain;
  std::vector<PlannedTensor> matrices;
  std::vector<PlannedTensor> biases = {};  // none, or one a matrix
};

// What a part keeps of each token in the KV cache: `width` elements for each unit of a rank's
// share.
struct PlannedPlane {
  Division division = Division::kWhole;
  std::int64_t width = 0;
};

enum class PartKind : std::uint8_t { kGroupedQuery, kDenseFfn, kMla, kMoe };

// One part of a layer: x += part(norm(x)).
struct PartPlan {
  PartKind kind = PartKind::kDenseFfn;
  PlannedTensor norm;
  std::vector<PlannedWeight> weights;        // in the order that the part's class names
  std::vector<PlannedTensor> tables = {};    // likewise: what no rank parts and no file packs
  std::vector<PlannedPlane> kv_planes = {};  // at most one part of a layer has any
};

// How the KV cache is kept: as activations are, or in FP8 by scales that were there before any
// request (kernels::KvScales).
struct KvCachePlan {
  bool is_fp8 = false;
  std::vector<kernels::KvScales> scales = {};  // by layer; empty: all 1. None without is_fp8, but
                                               // for what a checkpoint has, before that is settled
};

using LayerPlan = std::vector<PartPlan>;  // in the order in which they run

struct ModelPlan {
  ModelConfig config;
  std::array<Divided, kNumDivisions> divided;  // by Division
  PlannedTensor embedding;
  std::vector<LayerPlan> layers;
  PlannedTensor final_norm;
  PlannedWeight head;
  KvCachePlan kv_cache = {};
  bool host_embedding = false;  // a GPU's rank keeps the embedding in host memory
};

// The plan of a Hugging Face Qwen2, Llama or DeepseekV3 checkpoint.
ModelPlan MakePlan(const ModelConfig& config);

// From now on matrices are of `encoding`, whose blocks no rank parts: of kInt4 and kFp8 the layers'
// alone, of kQ4K as files of llama.cpp's type Q4_K_M have them, the head and some of a model's
// values and down projections in kQ6K; else the head's too.
void SetMatrixEncoding(kernels::Encoding encoding, ModelPlan& plan);

// Every tensor of the model, once.
std::vector<TensorSpec> RequiredTensors(const ModelPlan& plan);

// Every matrix that a device multiplies by, each part of a stack by itself; not the embedding.
void ForEachMatrix(ModelPlan& plan, const std::function<void(PlannedTensor&)>& visit);

// Whether a matrix is kept packed.
bool IsPacked(const ModelPlan& plan);

// What of the model only a CPU computes, as a message's subject; empty: nothing. DeepseekV3's parts
// of sizes that no GPU takes, or matrices that have their columns in an order of their own.
std::string NeedsCpu(const ModelPlan& plan);

// How the device keeps the matrices: "bf16"; "q4_k+q6_k" where some of them differ.
std::string EncodingsOf(const ModelPlan& plan);

// Whether some writers leave this tensor in a file though it says nothing new: the rotary
// frequencies, and the head where it is the embedding. Or of a DeepseekV3 the layers after its
// last, which predict further tokens: they are not loaded.
bool IsSurplus(const ModelPlan& plan, absl::string_view tensor);

// Trainable numbers of the model.
std::int64_t CountParameters(const ModelPlan& plan);

}  // namespace thinkwire::worker::model
