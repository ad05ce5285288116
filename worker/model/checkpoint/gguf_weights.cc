#include "worker/model/checkpoint/gguf_weights.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/mapped_file.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "worker/model/checkpoint/gguf_latent_rows.h"
#include "worker/model/checkpoint/gguf_names.h"
#include "worker/model/checkpoint/hash.h"
#include "worker/model/checkpoint/safetensors.h"
#include "worker/model/checkpoint/tensor_content.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

struct Supported {
  std::string_view type;
  Encoding encoding;
};
constexpr auto kSupported = std::to_array<Supported>({{"F32", Encoding::kF32},
                                                      {"F16", Encoding::kF16},
                                                      {"BF16", Encoding::kBf16},
                                                      {"Q8_0", Encoding::kQ8_0},
                                                      {"Q4_0", Encoding::kQ4_0},
                                                      {"Q4_1", Encoding::kQ4_1},
                                                      {"Q5_0", Encoding::kQ5_0},
                                                      {"Q5_1", Encoding::kQ5_1},
                                                      {"Q2_K", Encoding::kQ2K},
                                                      {"Q3_K", Encoding::kQ3K},
                                                      {"Q4_K", Encoding::kQ4K},
                                                      {"Q5_K", Encoding::kQ5K},
                                                      {"Q6_K", Encoding::kQ6K},
                                                      {"IQ4_NL", Encoding::kIq4Nl},
                                                      {"IQ4_XS", Encoding::kIq4Xs}});

std::optional<Encoding> EncodingOf(const GgufTensor& tensor) {
  for (const Supported& supported : kSupported) {
    if (supported.type == tensor.type->name) return supported.encoding;
  }
  return std::nullopt;
}

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

absl::Status TensorError(const GgufShardTensor& found, absl::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrCat(*found.file, ": tensor ", QuotedName(found.tensor->name), " ", problem));
}

// Shape and type, from the directory alone.
absl::Status CheckForm(const GgufStored& stored, bool is_vector) {
  const GgufShardTensor& found = stored.found;
  if (found.tensor->shape != stored.shape) {
    return TensorError(found,
                       absl::StrCat("has shape ", ShapeText(found.tensor->shape),
                                    "; the model's values ask for ", ShapeText(stored.shape)));
  }
  const std::optional<Encoding> encoding = EncodingOf(*found.tensor);
  if (encoding && !(is_vector && kernels::IsPacked(*encoding))) return absl::OkStatus();
  const auto append = [](std::string* out, const Supported& supported) {
    absl::StrAppend(out, View(supported.type));
  };
  return TensorError(
      found, absl::StrCat("has type ", View(found.tensor->type->name), "; supported: ",
                          is_vector ? "F32, F16, BF16" : absl::StrJoin(kSupported, ", ", append)));
}

// Bytes of `rows` rows and `cols` columns, taken one row after another from the places that `at`
// gives.
template <class Place>
HostSlice CopyRows(std::span<const std::byte> tensor, Encoding encoding, const TensorSpec& spec,
                   const Region& region, const Place& at) {
  const auto row_bytes = static_cast<std::size_t>(kernels::BytesOf(encoding, spec.cols));
  const auto first = static_cast<std::size_t>(kernels::BytesOf(encoding, region.first_col));
  const auto bytes = static_cast<std::size_t>(kernels::BytesOf(encoding, region.cols));
  HostSlice host;
  host.owned.resize(static_cast<std::size_t>(region.rows) * bytes);
  for (std::int64_t r = 0; r < region.rows; ++r) {
    const auto row = static_cast<std::size_t>(at(region.first_row + r));
    std::memcpy(host.owned.data() + static_cast<std::size_t>(r) * bytes,
                tensor.data() + row * row_bytes + first, bytes);
  }
  host.slice = {.data = host.owned.data(),
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols};
  return host;
}

// All of a tensor as rows of its last dimension.
kernels::WeightSlice RowsOf(const GgufTensor& tensor) {
  const std::int64_t cols = tensor.shape.back();
  return {.data = tensor.bytes.data(),
          .encoding = *EncodingOf(tensor),
          .rows = tensor.shape[0] * tensor.shape[1],
          .cols = cols,
          .row_stride = cols};
}

}  // namespace

absl::StatusOr<std::unique_ptr<GgufWeights>> GgufWeights::Open(
    std::shared_ptr<const GgufShards> shards, ModelPlan& plan) {
  std::unique_ptr<GgufWeights> weights(new GgufWeights(std::move(shards), plan));
  const std::vector<TensorSpec> specs = RequiredTensors(plan);
  RETURN_IF_ERROR(weights->CheckForms(specs));
  RETURN_IF_ERROR(weights->CheckUnused(specs, plan));
  RETURN_IF_ERROR(weights->AdmitAll(specs));
  weights->SetEncodings(plan);
  return weights;
}

bool GgufWeights::IsParted(const TensorSpec& spec) const {
  const std::string name = GgufNameOf(spec.name);
  const auto latents = GgufLatentNamesOf(name);
  return latents && shards_->Find(name).tensor == nullptr &&
         shards_->Find(latents->keys).tensor != nullptr;
}

std::vector<GgufStored> GgufWeights::StoredOf(const TensorSpec& spec) const {
  const GgufPlace place = GgufPlaceOf(spec.name);
  if (IsParted(spec)) {
    const MlaConfig& mla = *config_.mla;
    const GgufLatentNames names = *GgufLatentNamesOf(place.tensor);
    const std::int64_t heads = config_.num_heads;
    return {
        {names.keys, shards_->Find(names.keys), {heads, mla.kv_lora_rank, mla.qk_nope_head_dim}},
        {names.values, shards_->Find(names.values), {heads, mla.v_head_dim, mla.kv_lora_rank}}};
  }
  GgufStored stored = {.name = place.tensor, .found = shards_->Find(place.tensor)};
  if (place.expert >= 0) stored.shape.push_back(config_.moe->n_routed_experts);
  stored.shape.push_back(spec.rows);
  if (!spec.is_vector) stored.shape.push_back(spec.cols);
  stored.part = std::max<std::int64_t>(place.expert, 0);
  stored.parts = place.expert >= 0 ? config_.moe->n_routed_experts : 1;
  return {std::move(stored)};
}

absl::Status GgufWeights::CheckForms(const std::vector<TensorSpec>& specs) {
  std::set<absl::string_view> types;
  for (const TensorSpec& spec : specs) {
    for (const GgufStored& stored : StoredOf(spec)) {
      if (stored.found.tensor == nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat(shards_->path(), ": there is no tensor \"", stored.name, "\", which a ",
                         config_.architecture, " of ", config_.num_layers, " layers needs"));
      }
      RETURN_IF_ERROR(CheckForm(stored, spec.is_vector));
      types.insert(View(stored.found.tensor->type->name));
    }
  }
  stored_as_ = absl::StrJoin(types, " and ");
  return absl::OkStatus();
}

bool GgufWeights::IsOfFurtherLayer(absl::string_view name) const {
  std::int64_t layer = 0;
  absl::string_view rest = name;
  return absl::ConsumePrefix(&rest, "blk.") &&
         absl::SimpleAtoi(rest.substr(0, rest.find('.')), &layer) && layer >= config_.num_layers &&
         config_.mla && layer < config_.num_layers + config_.num_mtp_layers;
}

absl::Status GgufWeights::CheckUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const {
  std::set<std::string> used = {kGgufRopeFactors};
  for (const TensorSpec& spec : specs) {
    for (const GgufStored& stored : StoredOf(spec)) used.insert(stored.name);
  }
  std::vector<std::string> unused;
  for (const auto& [name, found] : shards_->tensors()) {
    if (used.contains(std::string(name)) || IsOfFurtherLayer(name)) continue;
    // Frequencies that follow from the values.
    if (absl::EndsWith(name, "attn_rot_embd.weight")) continue;
    if (absl::StartsWith(name, "blk.")) {
      return TensorError(found, absl::StrCat("has no use in a ", config_.architecture, " of ",
                                             config_.num_layers, " layers, as it is supported"));
    }
    unused.emplace_back(name);
  }
  if (unused.empty()) return absl::OkStatus();
  plan.config.warnings.push_back(
      absl::StrCat(shards_->path(), ": a ", config_.architecture, " has no use for ", unused.size(),
                   " tensors: ", ShownText(absl::StrJoin(unused, ", "))));
  return absl::OkStatus();
}

absl::Status GgufWeights::AdmitAll(const std::vector<TensorSpec>& specs) {
  std::vector<GgufStored> all;
  std::vector<std::string_view> names;
  std::vector<TensorBytes> tensors;
  for (const TensorSpec& spec : specs) {
    for (GgufStored& stored : StoredOf(spec)) {
      tensors.push_back({stored.bytes(), *EncodingOf(*stored.found.tensor)});
      all.push_back(std::move(stored));
      names.push_back(spec.name);
    }
  }
  const std::vector<TensorContent> contents = ReadContents(tensors, DropPages);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!contents[i].finite) return TensorError(all[i].found, "holds a NaN or an infinity");
    identity_ = HashWord(HashBytes(identity_, names[i]), contents[i].hash);
    identity_ = HashBytes(identity_, all[i].found.tensor->type->name);
  }
  return absl::OkStatus();
}

void GgufWeights::SetEncodings(ModelPlan& plan) const {
  const auto set = [this](PlannedTensor& matrix) {
    if (IsParted(matrix.spec)) return;
    const Encoding encoding = *EncodingOf(*StoredOf(matrix.spec).front().found.tensor);
    if (kernels::IsPacked(encoding)) matrix.spec.encoding = encoding;
  };
  ForEachMatrix(plan, set);
  set(plan.embedding);
}

HostSlice GgufWeights::Slice(const TensorSpec& spec, const Region& region) const {
  const std::vector<GgufStored> stored = StoredOf(spec);
  CHECK(stored.front().found.tensor != nullptr, "a weight that was not admitted");
  if (stored.size() > 1) {
    CheckRegion(spec, region, Encoding::kBf16);
    const MappedRead keys(stored[0].bytes());
    const MappedRead values(stored[1].bytes());
    return GgufLatentRows(RowsOf(*stored[0].found.tensor), RowsOf(*stored[1].found.tensor),
                          {config_.mla->qk_nope_head_dim, config_.mla->v_head_dim}, region);
  }
  const Encoding encoding = *EncodingOf(*stored.front().found.tensor);
  CheckRegion(spec, region, encoding);
  if (HasPermutedRows(config_, spec.name)) {
    const MappedRead read(stored.front().bytes());
    return CopyRows(stored.front().bytes(), encoding, spec, region,
                    [this](std::int64_t row) { return PermutedRow(row, config_.head_dim); });
  }
  const std::int64_t offset =
      kernels::BytesOf(encoding, region.first_row * spec.cols + region.first_col);
  HostSlice host;
  host.slice = {.data = stored.front().bytes().data() + offset,
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = spec.cols};
  host.read = MappedRead(BytesOf(host.slice));
  return host;
}

}  // namespace thinkwire::worker::model
