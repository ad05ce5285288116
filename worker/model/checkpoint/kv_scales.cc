#include "worker/model/checkpoint/kv_scales.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/kernels/convert.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {
namespace {

using kernels::KvScales;

constexpr float kLeast = 1e-6F;
constexpr float kMost = 1e6F;
constexpr char kRange[] = "1e-06 to 1000000";

// False for a NaN too.
bool IsAllowed(double scale) { return scale >= kLeast && scale <= kMost; }

// "k" or "v" of a layer.
std::array<std::string, 3> NamesOf(std::int64_t layer, absl::string_view which) {
  const std::string attention = absl::StrCat("model.layers.", layer, ".self_attn.");
  return {absl::StrCat(attention, which, "_scale"),
          absl::StrCat(attention, which, "_proj.", which, "_scale"),
          absl::StrCat(attention, which, "_proj.output_scale")};
}

template <class Bits>
Bits BitsOf(const StoredTensor& tensor) {
  Bits bits;
  std::memcpy(&bits, tensor.bytes.data(), sizeof(bits));
  return bits;
}

absl::StatusOr<float> NumberOf(const CheckpointTensor& tensor) {
  const StoredTensor& stored = tensor.stored;
  const std::size_t size = stored.dtype == "F32" ? 4 : 2;
  const bool is_known = stored.dtype == "F32" || stored.dtype == "BF16" || stored.dtype == "F16";
  if (!is_known || stored.bytes.size() != size) {
    return TensorError(
        tensor, absl::StrCat("has dtype ", stored.dtype, " and shape ", ShapeText(stored.shape),
                             "; supported for a KV scale: one number of BF16, F16 "
                             "or F32"));
  }
  if (stored.dtype == "F32") return BitsOf<float>(stored);
  const auto bits = BitsOf<std::uint16_t>(stored);
  return stored.dtype == "BF16" ? kernels::F32FromBf16(bits) : kernels::F32FromF16(bits);
}

// Null where the layer has none.
const CheckpointTensor* Find(const Checkpoint& checkpoint, std::int64_t layer,
                             absl::string_view which) {
  for (const std::string& name : NamesOf(layer, which)) {
    if (const CheckpointTensor* tensor = checkpoint.Find(name)) return tensor;
  }
  return nullptr;
}

absl::StatusOr<float> ScaleOf(const CheckpointTensor& tensor) {
  ASSIGN_OR_RETURN(const float scale, NumberOf(tensor));
  if (IsAllowed(scale)) return scale;
  return TensorError(tensor, absl::StrCat("is ", scale, "; allowed for a KV scale: ", kRange));
}

// Of all layers, keys before values; nulls among them.
std::vector<const CheckpointTensor*> FindAll(const Checkpoint& checkpoint,
                                             std::int64_t num_layers) {
  std::vector<const CheckpointTensor*> tensors;
  for (std::int64_t layer = 0; layer < num_layers; ++layer) {
    for (const char* which : {"k", "v"}) tensors.push_back(Find(checkpoint, layer, which));
  }
  return tensors;
}

absl::Status Missing(std::size_t index, const CheckpointTensor& present) {
  const auto layer = static_cast<std::int64_t>(index / 2);
  return TensorError(present, absl::StrCat("is a KV scale, but there is no ",
                                           NamesOf(layer, index % 2 == 0 ? "k" : "v").front(),
                                           "; supported: one of keys and one of values a layer"));
}

absl::StatusOr<std::vector<float>> ReadList(const ConfigReader& reader, const char* key,
                                            std::int64_t num_layers) {
  const nlohmann::json* list = reader.Find(key);
  const std::string supported =
      absl::StrCat("a list of ", num_layers, " numbers, one a layer, from ", kRange);
  if (list == nullptr || !list->is_array() || std::ssize(*list) != num_layers) {
    return reader.Refuse(key, supported);
  }
  std::vector<float> scales;
  for (const nlohmann::json& number : *list) {
    if (!number.is_number() || !IsAllowed(number.get<double>())) {
      return reader.Refuse(key, supported);
    }
    scales.push_back(number.get<float>());
  }
  return scales;
}

}  // namespace

absl::StatusOr<StoredKvScales> ReadStoredKvScales(const Checkpoint& checkpoint,
                                                  std::int64_t num_layers) {
  const std::vector<const CheckpointTensor*> all = FindAll(checkpoint, num_layers);
  const auto present = std::ranges::find_if(all, [](const auto* tensor) { return tensor; });
  StoredKvScales stored;
  if (present == all.end()) return stored;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] == nullptr) return Missing(i, **present);
    ASSIGN_OR_RETURN(const float scale, ScaleOf(*all[i]));
    if (i % 2 == 0) stored.scales.emplace_back();
    (i % 2 == 0 ? stored.scales.back().keys : stored.scales.back().values) = scale;
  }
  stored.tensors = all;
  return stored;
}

absl::StatusOr<std::vector<KvScales>> ReadKvScalesFile(const std::filesystem::path& path,
                                                       std::int64_t num_layers) {
  ASSIGN_OR_RETURN(const nlohmann::json document,
                   ReadJsonFile(path, {.max_bytes = kMaxModelConfigBytes}));
  const ConfigReader reader(document, path.string());
  RETURN_IF_ERROR(reader.RequireObject());
  for (const auto& [key, value] : document.items()) {
    if (key == "k_scale" || key == "v_scale") continue;
    return absl::InvalidArgumentError(absl::StrCat(reader.name(), ": ", ShownText(key),
                                                   " is not a key; allowed: k_scale, v_scale"));
  }
  ASSIGN_OR_RETURN(const std::vector<float> keys, ReadList(reader, "k_scale", num_layers));
  ASSIGN_OR_RETURN(const std::vector<float> values, ReadList(reader, "v_scale", num_layers));
  std::vector<KvScales> scales;
  for (std::size_t i = 0; i < keys.size(); ++i) scales.push_back({keys[i], values[i]});
  return scales;
}

}  // namespace thinkwire::worker::model
