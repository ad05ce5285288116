#include "worker/model/checkpoint/nf4_tensor.h"

#include <array>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/json.h"
#include "common/status.h"
#include "worker/kernels/convert.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/for_rows.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr char kState[] = ".quant_state.bitsandbytes__nf4";
constexpr std::int64_t kMapSize = 16;
constexpr std::int64_t kNestedMapSize = 256;
constexpr std::int64_t kMostBlock = 4096;         // bitsandbytes' largest
constexpr std::size_t kMostStateBytes = 1 << 12;  // some 200 are usual
constexpr float kMostBf16 = 3.38e38F;

float FloatAt(const CheckpointTensor& tensor, std::int64_t i) {
  float value;
  std::memcpy(&value, tensor.stored.bytes.data() + i * 4, sizeof(value));
  return value;
}

std::uint8_t ByteAt(const CheckpointTensor& tensor, std::int64_t i) {
  return std::to_integer<std::uint8_t>(tensor.stored.bytes[static_cast<std::size_t>(i)]);
}

std::int64_t CeilOf(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

bool Nf4Tensor::IsIn(const Checkpoint& checkpoint, const std::string& weight) {
  return checkpoint.Find(weight + kState) != nullptr;
}

absl::StatusOr<Nf4Tensor> Nf4Tensor::Find(const Checkpoint& checkpoint, const std::string& weight,
                                          std::int64_t rows, std::int64_t cols) {
  Nf4Tensor tensor;
  tensor.rows_ = rows;
  tensor.cols_ = cols;
  const CheckpointTensor* state = checkpoint.Find(weight + kState);
  ASSIGN_OR_RETURN(tensor.state_, ReadState(*state, rows, cols));
  tensor.stored_.push_back(state);
  ASSIGN_OR_RETURN(tensor.q_, tensor.Take(checkpoint, weight, "U8", CeilOf(rows * cols, 2)));
  ASSIGN_OR_RETURN(tensor.map_, tensor.Take(checkpoint, weight + ".quant_map", "F32", kMapSize));
  RETURN_IF_ERROR(tensor.TakeScales(checkpoint, weight));
  return tensor;
}

absl::StatusOr<Nf4Tensor::State> Nf4Tensor::ReadState(const CheckpointTensor& tensor,
                                                      std::int64_t rows, std::int64_t cols) {
  const auto bytes = tensor.stored.bytes;
  if (tensor.stored.dtype != "U8" || bytes.size() > kMostStateBytes) {
    return TensorError(tensor, absl::StrCat("is no U8 of at most ", kMostStateBytes, " bytes"));
  }
  const std::string name = absl::StrCat(tensor.file, ": tensor ", QuotedName(tensor.stored.name));
  ASSIGN_OR_RETURN(const json object,
                   ParseJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, name));
  const ConfigReader reader(object, name);
  RETURN_IF_ERROR(reader.RequireObject());
  State state;
  double offset = 0;
  const json* type = reader.Find("quant_type");
  if (type == nullptr || *type != "nf4") return reader.Refuse("quant_type", "nf4");
  const json* shape = reader.Find("shape");
  if (shape == nullptr || *shape != json::array({rows, cols})) {
    return reader.Refuse("shape", absl::StrCat("[", rows, ", ", cols, "], as config.json asks"));
  }
  RETURN_IF_ERROR(reader.Integer("blocksize", 1, kMostBlock, state.block));
  RETURN_IF_ERROR(reader.OptionalInteger("nested_blocksize", 1, kMostBlock, state.nested_block));
  RETURN_IF_ERROR(reader.OptionalNumber("nested_offset", -1e6, 1e6, offset));
  state.nested_offset = static_cast<float>(offset);
  return state;
}

absl::StatusOr<const CheckpointTensor*> Nf4Tensor::Take(const Checkpoint& checkpoint,
                                                        const std::string& name,
                                                        absl::string_view dtype,
                                                        std::int64_t elements) {
  const CheckpointTensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has no tensor ", QuotedName(name), ", which ",
                     QuotedName(stored_.front()->stored.name), " asks for"));
  }
  std::int64_t count = 1;
  for (const std::int64_t size : tensor->stored.shape) count *= size;
  if (tensor->stored.dtype != dtype || count != elements) {
    return TensorError(
        *tensor, absl::StrCat("is ", tensor->stored.dtype, " ", ShapeText(tensor->stored.shape),
                              "; NF4 has ", dtype, ", ", elements, " of them"));
  }
  stored_.push_back(tensor);
  return tensor;
}

absl::Status Nf4Tensor::TakeScales(const Checkpoint& checkpoint, const std::string& weight) {
  const bool is_nested = state_.nested_block > 0;
  const std::int64_t blocks = CeilOf(rows_ * cols_, state_.block);
  ASSIGN_OR_RETURN(absmax_, Take(checkpoint, weight + ".absmax", is_nested ? "U8" : "F32", blocks));
  if (!is_nested) return absl::OkStatus();
  ASSIGN_OR_RETURN(nested_map_,
                   Take(checkpoint, weight + ".nested_quant_map", "F32", kNestedMapSize));
  ASSIGN_OR_RETURN(nested_absmax_, Take(checkpoint, weight + ".nested_absmax", "F32",
                                        CeilOf(blocks, state_.nested_block)));
  return absl::OkStatus();
}

float Nf4Tensor::MostOf(std::int64_t block) const {
  if (nested_map_ == nullptr) return FloatAt(*absmax_, block);
  const float unit = FloatAt(*nested_absmax_, block / state_.nested_block);
  const float product = FloatAt(*nested_map_, ByteAt(*absmax_, block)) * unit;
  return product + state_.nested_offset;
}

absl::Status Nf4Tensor::CheckContents() {
  float most_of_map = 0;
  for (std::int64_t i = 0; i < kMapSize; ++i) {
    most_of_map = std::max(most_of_map, std::fabs(FloatAt(*map_, i)));
  }
  const std::int64_t blocks = CeilOf(rows_ * cols_, state_.block);
  most_.resize(static_cast<std::size_t>(blocks));
  for (std::int64_t i = 0; i < blocks; ++i) {
    const float most = MostOf(i);
    if (!(std::fabs(most) * most_of_map <= kMostBf16)) {
      return TensorError(*absmax_, "has weights beyond those of BF16");
    }
    most_[static_cast<std::size_t>(i)] = most;
  }
  return absl::OkStatus();
}

HostSlice Nf4Tensor::Slice(const Region& region) const {
  std::array<float, kMapSize> map{};
  for (std::int64_t i = 0; i < kMapSize; ++i) map[static_cast<std::size_t>(i)] = FloatAt(*map_, i);
  HostSlice host;
  host.owned.resize(static_cast<std::size_t>(region.rows * region.cols) * sizeof(std::uint16_t));
  ForRows(region.rows, region.rows * region.cols, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t r = first; r < end; ++r) {
      const std::int64_t from = (region.first_row + r) * cols_ + region.first_col;
      std::byte* to = host.owned.data() + r * region.cols * 2;
      for (std::int64_t i = from; i < from + region.cols; ++i, to += 2) {
        const int q = ByteAt(*q_, i / 2) >> (i % 2 == 0 ? 4 : 0) & 0xF;
        const float weight =
            map[static_cast<std::size_t>(q)] * most_[static_cast<std::size_t>(i / state_.block)];
        const std::uint16_t bits = kernels::Bf16FromF32(weight);
        std::memcpy(to, &bits, sizeof(bits));
      }
    }
  });
  host.slice = {.data = host.owned.data(),
                .encoding = kernels::Encoding::kBf16,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols};
  return host;
}

}  // namespace thinkwire::worker::model
