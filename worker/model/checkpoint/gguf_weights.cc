#include "worker/model/checkpoint/gguf_weights.h"

#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
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
absl::Status CheckForm(const GgufShardTensor& found, const TensorSpec& spec) {
  std::vector<std::int64_t> expected = {spec.rows};
  if (!spec.is_vector) expected.push_back(spec.cols);
  if (found.tensor->shape != expected) {
    return TensorError(found, absl::StrCat("has shape ", ShapeText(found.tensor->shape),
                                           "; the model's values ask for ", ShapeText(expected)));
  }
  const std::optional<Encoding> encoding = EncodingOf(*found.tensor);
  if (encoding && !(spec.is_vector && kernels::IsPacked(*encoding))) return absl::OkStatus();
  const auto append = [](std::string* out, const Supported& supported) {
    absl::StrAppend(out, View(supported.type));
  };
  return TensorError(
      found,
      absl::StrCat("has type ", View(found.tensor->type->name), "; supported: ",
                   spec.is_vector ? "F32, F16, BF16" : absl::StrJoin(kSupported, ", ", append)));
}

// Bytes of `rows` rows and `cols` columns, taken one row after another from the places that `at`
// gives.
template <class Place>
HostSlice CopyRows(const GgufTensor& tensor, Encoding encoding, const TensorSpec& spec,
                   const Region& region, const Place& at) {
  const auto row_bytes = static_cast<std::size_t>(kernels::BytesOf(encoding, spec.cols));
  const auto first = static_cast<std::size_t>(kernels::BytesOf(encoding, region.first_col));
  const auto bytes = static_cast<std::size_t>(kernels::BytesOf(encoding, region.cols));
  HostSlice host;
  host.owned.resize(static_cast<std::size_t>(region.rows) * bytes);
  for (std::int64_t r = 0; r < region.rows; ++r) {
    const auto row = static_cast<std::size_t>(at(region.first_row + r));
    std::memcpy(host.owned.data() + static_cast<std::size_t>(r) * bytes,
                tensor.bytes.data() + row * row_bytes + first, bytes);
  }
  host.slice = {.data = host.owned.data(),
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols};
  return host;
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

absl::Status GgufWeights::CheckForms(const std::vector<TensorSpec>& specs) {
  std::set<absl::string_view> types;
  for (const TensorSpec& spec : specs) {
    const std::string name = GgufNameOf(spec.name);
    const GgufShardTensor found = shards_->Find(name);
    if (found.tensor == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(shards_->path(), ": there is no tensor \"",
                                                     name, "\", which a ", config_.architecture,
                                                     " of ", config_.num_layers, " layers needs"));
    }
    RETURN_IF_ERROR(CheckForm(found, spec));
    types.insert(View(found.tensor->type->name));
  }
  stored_as_ = absl::StrJoin(types, " and ");
  return absl::OkStatus();
}

absl::Status GgufWeights::CheckUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const {
  std::set<std::string> used = {kGgufRopeFactors};
  for (const TensorSpec& spec : specs) used.insert(GgufNameOf(spec.name));
  std::vector<std::string> unused;
  for (const auto& [name, found] : shards_->tensors()) {
    if (used.contains(std::string(name))) continue;
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
  std::vector<TensorBytes> tensors;
  for (const TensorSpec& spec : specs) {
    const GgufTensor& tensor = *shards_->Find(GgufNameOf(spec.name)).tensor;
    tensors.push_back({tensor.bytes, *EncodingOf(tensor)});
  }
  const std::vector<TensorContent> contents = ReadContents(tensors);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const GgufShardTensor found = shards_->Find(GgufNameOf(specs[i].name));
    if (!contents[i].finite) return TensorError(found, "holds a NaN or an infinity");
    identity_ = HashWord(HashBytes(identity_, specs[i].name), contents[i].hash);
    identity_ = HashBytes(identity_, found.tensor->type->name);
  }
  return absl::OkStatus();
}

void GgufWeights::SetEncodings(ModelPlan& plan) const {
  ForEachMatrix(plan, [this](PlannedTensor& matrix) {
    const Encoding encoding = *EncodingOf(*shards_->Find(GgufNameOf(matrix.spec.name)).tensor);
    if (kernels::IsPacked(encoding)) matrix.spec.encoding = encoding;
  });
}

HostSlice GgufWeights::Slice(const TensorSpec& spec, const Region& region) const {
  const GgufTensor* tensor = shards_->Find(GgufNameOf(spec.name)).tensor;
  CHECK(tensor != nullptr, "a weight that was not admitted");
  const Encoding encoding = *EncodingOf(*tensor);
  CheckRegion(spec, region, encoding);
  if (HasPermutedRows(config_, spec.name)) {
    return CopyRows(*tensor, encoding, spec, region,
                    [this](std::int64_t row) { return PermutedRow(row, config_.head_dim); });
  }
  const std::int64_t offset =
      kernels::BytesOf(encoding, region.first_row * spec.cols + region.first_col);
  HostSlice host;
  host.slice = {.data = tensor->bytes.data() + offset,
                .encoding = encoding,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = spec.cols};
  return host;
}

}  // namespace thinkwire::worker::model
