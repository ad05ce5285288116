#include "worker/model/checkpoint/checkpoint_weights.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/log.h"
#include "common/mapped_file.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/hash.h"
#include "worker/model/checkpoint/tensor_content.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

// Of tensors whose bytes are no numbers by themselves.
constexpr Encoding kNumbersOfAnyKind = Encoding::kInt4;

std::optional<Encoding> ComputableType(absl::string_view stored) {
  if (stored == "BF16") return Encoding::kBf16;
  if (stored == "F16") return Encoding::kF16;
  if (stored == "F32") return Encoding::kF32;
  return std::nullopt;
}

// How to look at a tensor for what is not finite.
Encoding ReadAs(absl::string_view stored) {
  if (stored == "F8_E4M3") return Encoding::kFp8;
  return ComputableType(stored).value_or(kNumbersOfAnyKind);
}

std::string ModelText(const ModelPlan& plan) {
  return absl::StrCat("a ", plan.config.architecture, " of ", plan.config.num_layers, " layers");
}

// Shape and dtype, from the header alone.
absl::Status CheckForm(const CheckpointTensor& tensor, const TensorSpec& spec) {
  std::vector<std::int64_t> expected = {spec.rows};
  if (!spec.is_vector) expected.push_back(spec.cols);
  if (tensor.stored.shape != expected) {
    return TensorError(tensor, absl::StrCat("has shape ", ShapeText(tensor.stored.shape),
                                            "; config.json asks for ", ShapeText(expected)));
  }
  if (!ComputableType(tensor.stored.dtype)) {
    return TensorError(
        tensor, absl::StrCat("has dtype ", tensor.stored.dtype, "; supported: BF16, F16, F32"));
  }
  return absl::OkStatus();
}

// Whether it is of a layer beyond the model's own, which are all before the first of those.
bool IsOfFurtherLayer(const ModelConfig& config, absl::string_view tensor) {
  constexpr absl::string_view kLayers = "model.layers.";
  std::int64_t layer = 0;
  if (!absl::ConsumePrefix(&tensor, kLayers)) return false;
  return absl::SimpleAtoi(tensor.substr(0, tensor.find('.')), &layer) &&
         layer >= config.num_layers + config.num_layers_left;
}

// What of a DeepseekV3's files is not loaded, since nothing is drafted: who looks at their size and
// at our memory should find the difference.
void TellOfFurtherLayers(const Checkpoint& checkpoint, const ModelPlan& plan) {
  std::string first;
  std::size_t tensors = 0;
  std::size_t bytes = 0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    if (!IsSurplus(plan, name) || !IsOfFurtherLayer(plan.config, name)) continue;
    if (tensors++ == 0) first = name;
    bytes += tensor.stored.bytes.size();
  }
  if (tensors == 0) return;
  LogInfo("layers that predict further tokens (MTP) are not loaded",
          {{"first_tensor", ShownText(first)}, {"tensors", tensors}, {"bytes", bytes}});
}

bool AreEqual(const StoredTensor& a, const StoredTensor& b) {
  return a.dtype == b.dtype && a.shape == b.shape &&
         std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

// "model.layers.0.mlp.up_proj" of its weight's name.
std::string ModuleOf(const std::string& weight) {
  return std::string(absl::StripSuffix(weight, ".weight"));
}

// Which tensors of `module` a quantised checkpoint would have; empty: none is there.
std::string PackedForm(const Checkpoint& checkpoint, const std::string& module) {
  for (const char* name : {".qweight", ".weight_packed"}) {
    if (checkpoint.Find(module + name) != nullptr) return module + name;
  }
  return "";
}

std::vector<MappedRead> ReadsOf(const std::vector<const CheckpointTensor*>& tensors) {
  std::vector<MappedRead> reads;
  for (const CheckpointTensor* tensor : tensors) reads.emplace_back(tensor->stored.bytes);
  return reads;
}

absl::Status Missing(const std::filesystem::path& dir, const Checkpoint& checkpoint,
                     const std::string& tensor, const ModelPlan& plan) {
  const bool is_head = tensor == kHeadName;
  const std::string packed = PackedForm(checkpoint, ModuleOf(tensor));
  if (!packed.empty()) {
    return TensorError(*checkpoint.Find(packed),
                       "is packed, of which config.json's quantization_config says nothing");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      dir.string(), ": the checkpoint has no tensor \"", tensor, "\", which ", ModelText(plan),
      " needs", is_head ? " (with tie_word_embeddings true it would be the embedding)" : ""));
}

}  // namespace

absl::StatusOr<std::unique_ptr<CheckpointWeights>> CheckpointWeights::Open(
    const std::filesystem::path& dir, ModelPlan& plan) {
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(dir));
  std::unique_ptr<CheckpointWeights> weights(new CheckpointWeights(std::move(checkpoint)));
  weights->Tie(plan);
  RETURN_IF_ERROR(weights->FindGrouped(plan));
  const std::vector<TensorSpec> specs = RequiredTensors(plan);
  for (const TensorSpec& spec : specs) {
    if (weights->StoredOf(spec).front() == nullptr) {
      return Missing(dir, weights->checkpoint_, spec.name, plan);
    }
  }
  RETURN_IF_ERROR(weights->CheckForms(specs));
  RETURN_IF_ERROR(weights->AdmitAll(specs));
  RETURN_IF_ERROR(weights->SetForms(plan));
  RETURN_IF_ERROR(weights->ReadKvScales(plan));
  RETURN_IF_ERROR(weights->WarnOfUnused(specs, plan));
  return weights;
}

absl::Status CheckpointWeights::ReadKvScales(ModelPlan& plan) {
  ASSIGN_OR_RETURN(kv_scales_, ReadStoredKvScales(checkpoint_, plan.config.num_layers));
  plan.kv_cache.scales = kv_scales_.scales;
  return absl::OkStatus();
}

absl::Status CheckpointWeights::FindGrouped(ModelPlan& plan) {
  if (!plan.config.quantization) return absl::OkStatus();
  absl::Status status;
  ForEachMatrix(plan, [&](PlannedTensor& matrix) {
    if (status.ok() && matrix.spec.name != kEmbeddingName) status = FindGrouped(plan, matrix.spec);
  });
  return status;
}

absl::Status CheckpointWeights::FindGrouped(const ModelPlan& plan, const TensorSpec& spec) {
  const std::string module = ModuleOf(spec.name);
  if (plan.config.quantization->method() == kBitsandbytes) {
    if (!Nf4Tensor::IsIn(checkpoint_, spec.name)) return absl::OkStatus();
    ASSIGN_OR_RETURN(Nf4Tensor tensor,
                     Nf4Tensor::Find(checkpoint_, spec.name, spec.rows, spec.cols));
    in_nf4_.emplace(spec.name, std::move(tensor));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto scheme, plan.config.quantization->SchemeOf(module));
  if (!scheme) return absl::OkStatus();
  ASSIGN_OR_RETURN(GroupedTensor tensor,
                   GroupedTensor::Find(checkpoint_, module, spec.rows, spec.cols, *scheme));
  grouped_.emplace(spec.name, std::move(tensor));
  return absl::OkStatus();
}

void CheckpointWeights::Tie(ModelPlan& plan) {
  if (!plan.config.tie_word_embeddings) return;
  const CheckpointTensor* embedding = checkpoint_.Find(kEmbeddingName);
  const CheckpointTensor* head = checkpoint_.Find(kHeadName);
  if (head == nullptr) return;
  embedding_is_head_ = embedding == nullptr;
  if (embedding_is_head_ || AreEqual(embedding->stored, head->stored)) return;
  ModelConfig config = plan.config;
  config.tie_word_embeddings = false;
  config.warnings.push_back(absl::StrCat(head->file, ": ", kHeadName,
                                         " is obeyed, tie_word_embeddings true is not, as ",
                                         kEmbeddingName, " holds other numbers"));
  plan = MakePlan(config);
}

const CheckpointTensor* CheckpointWeights::Find(absl::string_view name) const {
  return checkpoint_.Find(embedding_is_head_ && name == kEmbeddingName ? kHeadName : name);
}

std::vector<const CheckpointTensor*> CheckpointWeights::StoredOf(const TensorSpec& spec) const {
  const auto grouped = grouped_.find(spec.name);
  if (grouped != grouped_.end()) return grouped->second.stored();
  const auto in_nf4 = in_nf4_.find(spec.name);
  if (in_nf4 != in_nf4_.end()) return in_nf4->second.stored();
  return {Find(spec.name)};
}

absl::Status CheckpointWeights::CheckForms(const std::vector<TensorSpec>& specs) {
  std::set<std::string> dtypes;
  for (const TensorSpec& spec : specs) {
    for (const CheckpointTensor* tensor : StoredOf(spec)) dtypes.insert(tensor->stored.dtype);
    if (!IsQuantized(spec.name)) RETURN_IF_ERROR(CheckForm(*Find(spec.name), spec));
  }
  stored_as_ = absl::StrJoin(dtypes, " and ");
  return absl::OkStatus();
}

absl::Status CheckpointWeights::WarnOfUnused(const std::vector<TensorSpec>& specs,
                                             ModelPlan& plan) const {
  std::set<absl::string_view> used;
  for (const TensorSpec& spec : specs) {
    for (const CheckpointTensor* tensor : StoredOf(spec)) used.insert(tensor->stored.name);
  }
  for (const CheckpointTensor* tensor : kv_scales_.tensors) used.insert(tensor->stored.name);
  std::vector<std::string> unused;
  for (const auto& [name, tensor] : checkpoint_.tensors()) {
    if (used.contains(name) || IsSurplus(plan, name)) continue;
    ASSIGN_OR_RETURN(const bool is_no_bias, IsNoBias(tensor));
    if (!is_no_bias) unused.push_back(name);
  }
  TellOfFurtherLayers(checkpoint_, plan);
  std::vector<std::string>& warnings = plan.config.warnings;
  warnings.insert(warnings.end(), checkpoint_.warnings().begin(), checkpoint_.warnings().end());
  if (unused.empty()) return absl::OkStatus();
  warnings.push_back(absl::StrCat(checkpoint_.Find(unused.front())->file, ": ", ModelText(plan),
                                  " as config.json has it has no use for ", unused.size(),
                                  " tensors: ", ShownText(absl::StrJoin(unused, ", "))));
  return absl::OkStatus();
}

absl::StatusOr<bool> CheckpointWeights::IsNoBias(const CheckpointTensor& tensor) const {
  const absl::string_view name = tensor.stored.name;
  if (!absl::EndsWith(name, ".bias") ||
      !grouped_.contains(absl::StrCat(absl::StripSuffix(name, ".bias"), ".weight"))) {
    return false;
  }
  const std::span<const std::byte> bytes = tensor.stored.bytes;
  if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; })) {
    return true;
  }
  return TensorError(tensor, "is not all zeros, though this model has no bias there");
}

absl::Status CheckpointWeights::AdmitAll(const std::vector<TensorSpec>& specs) {
  std::vector<const CheckpointTensor*> all;
  std::vector<std::string_view> names;
  std::vector<TensorBytes> tensors;
  for (const TensorSpec& spec : specs) {
    for (const CheckpointTensor* tensor : StoredOf(spec)) {
      all.push_back(tensor);
      names.push_back(IsQuantized(spec.name) ? tensor->stored.name : spec.name);
      tensors.push_back({tensor->stored.bytes, ReadAs(tensor->stored.dtype)});
    }
  }
  const std::vector<TensorContent> contents = ReadContents(tensors, DropPages);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!contents[i].finite) return TensorError(*all[i], "holds a NaN or an infinity");
    identity_ = HashWord(HashBytes(identity_, names[i]), contents[i].hash);
    identity_ = HashBytes(identity_, all[i]->stored.dtype);
  }
  for (auto& [name, tensor] : grouped_) RETURN_IF_ERROR(tensor.CheckContents());
  for (auto& [name, tensor] : in_nf4_) RETURN_IF_ERROR(tensor.CheckContents());
  return absl::OkStatus();
}

absl::Status CheckpointWeights::SetForms(ModelPlan& plan) const {
  ForEachMatrix(plan, [this](PlannedTensor& matrix) {
    const auto grouped = grouped_.find(matrix.spec.name);
    if (grouped == grouped_.end()) return;
    matrix.spec.encoding = grouped->second.encoding();
    matrix.spec.reordered = !grouped->second.order().empty();
  });
  for (const LayerPlan& layer : plan.layers) {
    for (const PartPlan& part : layer) {
      for (const PlannedWeight& weight : part.weights) RETURN_IF_ERROR(CheckOneOrder(weight));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointWeights::CheckOneOrder(const PlannedWeight& weight) const {
  const auto order_of = [this](const PlannedTensor& matrix) {
    const auto grouped = grouped_.find(matrix.spec.name);
    return grouped == grouped_.end() ? std::span<const std::int32_t>() : grouped->second.order();
  };
  const auto first = order_of(weight.matrices.front());
  for (const PlannedTensor& matrix : weight.matrices) {
    const auto order = order_of(matrix);
    if (std::equal(order.begin(), order.end(), first.begin(), first.end())) continue;
    return TensorError(*StoredOf(matrix.spec).front(),
                       absl::StrCat("has its columns in another order than ",
                                    QuotedName(weight.matrices.front().spec.name),
                                    ", which reads the same input; supported: one order"));
  }
  return absl::OkStatus();
}

HostSlice CheckpointWeights::Slice(const TensorSpec& spec, const Region& region) const {
  const auto grouped = grouped_.find(spec.name);
  if (grouped != grouped_.end()) {
    CheckRegion(spec, region, grouped->second.encoding());
    const std::vector<MappedRead> reads = ReadsOf(grouped->second.stored());
    return grouped->second.Slice(region);
  }
  const auto in_nf4 = in_nf4_.find(spec.name);
  if (in_nf4 != in_nf4_.end()) {
    CheckRegion(spec, region, Encoding::kBf16);
    const std::vector<MappedRead> reads = ReadsOf(in_nf4->second.stored());
    return in_nf4->second.Slice(region);
  }
  const CheckpointTensor* tensor = Find(spec.name);
  CHECK(tensor != nullptr, "a weight that was not admitted");
  const Encoding encoding = *ComputableType(tensor->stored.dtype);
  CheckRegion(spec, region, encoding);
  const std::int64_t offset = region.first_row * spec.cols + region.first_col;
  HostSlice host;
  host.slice = {.data = tensor->stored.bytes.data() + kernels::BytesOf(encoding, offset),
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = spec.cols};
  host.read = MappedRead(BytesOf(host.slice));
  return host;
}

}  // namespace thinkwire::worker::model
