#include "worker/model/checkpoint/grouped_tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/check.h"
#include "common/status.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/write_group_block.h"
#include "worker/model/checkpoint/for_rows.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

constexpr std::array<absl::string_view, 1> kWords = {"I32"};
constexpr std::array<absl::string_view, 1> kSizes = {"I64"};
constexpr std::array<absl::string_view, 1> kBytes = {"I8"};
constexpr std::array<absl::string_view, 1> kE4m3 = {"F8_E4M3"};
constexpr std::array<absl::string_view, 3> kScales = {"F16", "BF16", "F32"};

bool IsE4m3(const GroupScheme& scheme) {
  return scheme.layout == GroupLayout::kFloatQuantized || scheme.layout == GroupLayout::kFp8Blocks;
}

bool IsPackedAlongRows(const GroupScheme& scheme) {
  return scheme.layout == GroupLayout::kAwqGemm || scheme.layout == GroupLayout::kGptq;
}

template <class T>
T ElementOf(const CheckpointTensor& tensor, std::int64_t at) {
  T element;
  std::memcpy(&element, tensor.stored.bytes.data() + static_cast<std::size_t>(at) * sizeof(T),
              sizeof(T));
  return element;
}

float FloatOf(const CheckpointTensor& tensor, std::int64_t at) {
  if (tensor.stored.dtype == "F32") return ElementOf<float>(tensor, at);
  const auto half = ElementOf<std::uint16_t>(tensor, at);
  return tensor.stored.dtype == "F16" ? kernels::F32FromF16(half) : kernels::F32FromBf16(half);
}

std::int64_t GroupSize(const GroupScheme& scheme, std::int64_t cols) {
  return scheme.group_size == -1 ? cols : scheme.group_size;
}

}  // namespace

Encoding EncodingOf(const GroupScheme& scheme, std::int64_t cols) {
  const int bits = scheme.bits;
  const std::int64_t group_size = GroupSize(scheme, cols);
  if (IsE4m3(scheme)) return Encoding::kFp8;
  if (group_size % 128 == 0) return bits == 4 ? Encoding::kInt4 : Encoding::kInt8;
  if (group_size % 64 == 0) return bits == 4 ? Encoding::kInt4G64 : Encoding::kInt8G64;
  return bits == 4 ? Encoding::kInt4G32 : Encoding::kInt8G32;
}

GroupedTensor::GroupedTensor(const Shape& shape, const GroupScheme& scheme)
    : shape_(shape),
      scheme_(scheme),
      group_size_(GroupSize(scheme, shape.cols)),
      encoding_(EncodingOf(scheme, shape.cols)) {
  q_.bits = scheme.bits;
  zeros_.bits = scheme.bits;
  if (scheme.zeros == ZeroRule::kWordOneLess) {
    zeros_.add = scheme.bits == 4 ? 0x11111111U : 0x01010101U;
  }
}

absl::StatusOr<GroupedTensor> GroupedTensor::Find(const Checkpoint& checkpoint,
                                                  const std::string& module, std::int64_t rows,
                                                  std::int64_t cols, const GroupScheme& scheme) {
  GroupedTensor tensor({rows, cols}, scheme);
  const std::int64_t numbers = 32 / scheme.bits;
  const std::int64_t block = kernels::BlockOf(tensor.encoding_).elements;
  if (cols % tensor.group_size_ != 0 || cols % block != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "module ", QuotedName(module), " has ", cols, " columns, which are no whole groups of ",
        tensor.group_size_, "; supported: whole groups, and columns by ", block));
  }
  if (IsPackedAlongRows(scheme) && rows % numbers != 0) {
    return absl::InvalidArgumentError(absl::StrCat("module ", QuotedName(module), " has ", rows,
                                                   " rows; supported: multiples of ", numbers));
  }
  switch (scheme.layout) {
    case GroupLayout::kAwqGemm:
      RETURN_IF_ERROR(tensor.FindAwq(checkpoint, module));
      break;
    case GroupLayout::kGptq:
      RETURN_IF_ERROR(tensor.FindGptq(checkpoint, module));
      break;
    case GroupLayout::kPackQuantized:
      RETURN_IF_ERROR(tensor.FindPackQuantized(checkpoint, module));
      break;
    case GroupLayout::kIntQuantized:
    case GroupLayout::kFloatQuantized:
    case GroupLayout::kFp8Blocks:
      RETURN_IF_ERROR(tensor.FindBytes(checkpoint, module));
      break;
  }
  return tensor;
}

absl::StatusOr<const CheckpointTensor*> GroupedTensor::Take(
    const Checkpoint& checkpoint, const std::string& name,
    std::span<const absl::string_view> dtypes, const std::vector<std::int64_t>& shape) {
  const CheckpointTensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has no tensor ", QuotedName(name),
                     ", which config.json's quantization_config asks for"));
  }
  if (std::find(dtypes.begin(), dtypes.end(), tensor->stored.dtype) == dtypes.end()) {
    return TensorError(*tensor, absl::StrCat("has dtype ", tensor->stored.dtype,
                                             "; supported: ", absl::StrJoin(dtypes, ", ")));
  }
  if (tensor->stored.shape != shape) {
    return TensorError(*tensor, absl::StrCat("has shape ", ShapeText(tensor->stored.shape),
                                             "; config.json asks for ", ShapeText(shape)));
  }
  stored_.push_back(tensor);
  return tensor;
}

absl::Status GroupedTensor::FindAwq(const Checkpoint& checkpoint, const std::string& module) {
  const std::int64_t words = shape_.rows * q_.bits / 32;
  ASSIGN_OR_RETURN(const CheckpointTensor* q,
                   Take(checkpoint, module + ".qweight", kWords, {shape_.cols, words}));
  ASSIGN_OR_RETURN(stored_zeros_,
                   Take(checkpoint, module + ".qzeros", kWords, {num_groups(), words}));
  ASSIGN_OR_RETURN(scales_.tensor,
                   Take(checkpoint, module + ".scales", kScales, {num_groups(), shape_.rows}));
  q_.words = q->stored.bytes.data();
  zeros_.words = stored_zeros_->stored.bytes.data();
  for (PackedNumbers* numbers : {&q_, &zeros_}) {
    numbers->along_rows = true;
    numbers->row_stride = 1;
    numbers->col_stride = words;
    numbers->places = {0, 4, 1, 5, 2, 6, 3, 7};
  }
  scales_.row_stride = 1;
  scales_.group_stride = shape_.rows;
  return absl::OkStatus();
}

absl::Status GroupedTensor::FindGptq(const Checkpoint& checkpoint, const std::string& module) {
  const std::int64_t words = shape_.rows * q_.bits / 32;
  ASSIGN_OR_RETURN(const CheckpointTensor* q, Take(checkpoint, module + ".qweight", kWords,
                                                   {shape_.cols * q_.bits / 32, shape_.rows}));
  ASSIGN_OR_RETURN(stored_zeros_,
                   Take(checkpoint, module + ".qzeros", kWords, {num_groups(), words}));
  ASSIGN_OR_RETURN(scales_.tensor,
                   Take(checkpoint, module + ".scales", kScales, {num_groups(), shape_.rows}));
  q_.words = q->stored.bytes.data();
  q_.row_stride = 1;
  q_.col_stride = shape_.rows;
  zeros_.words = stored_zeros_->stored.bytes.data();
  zeros_.along_rows = true;
  zeros_.row_stride = 1;
  zeros_.col_stride = words;
  scales_.row_stride = 1;
  scales_.group_stride = shape_.rows;
  return TakeGroupsOfColumns(checkpoint, module + ".g_idx");
}

absl::Status GroupedTensor::FindPackQuantized(const Checkpoint& checkpoint,
                                              const std::string& module) {
  const std::int64_t groups = num_groups();
  const std::int64_t words = shape_.cols * q_.bits / 32;
  ASSIGN_OR_RETURN(const CheckpointTensor* q,
                   Take(checkpoint, module + ".weight_packed", kWords, {shape_.rows, words}));
  ASSIGN_OR_RETURN(scales_.tensor,
                   Take(checkpoint, module + ".weight_scale", kScales, {shape_.rows, groups}));
  ASSIGN_OR_RETURN(stated_shape_, Take(checkpoint, module + ".weight_shape", kSizes, {2}));
  q_.words = q->stored.bytes.data();
  q_.row_stride = words;
  q_.col_stride = 1;
  scales_.row_stride = groups;
  scales_.group_stride = 1;
  if (scheme_.has_zeros) {
    ASSIGN_OR_RETURN(stored_zeros_, Take(checkpoint, module + ".weight_zero_point", kWords,
                                         {(shape_.rows * q_.bits + 31) / 32, groups}));
    zeros_.words = stored_zeros_->stored.bytes.data();
    zeros_.along_rows = true;
    zeros_.row_stride = groups;
    zeros_.col_stride = 1;
  }
  return TakeGroupsOfColumns(checkpoint, module + ".weight_g_idx");
}

absl::Status GroupedTensor::FindBytes(const Checkpoint& checkpoint, const std::string& module) {
  const bool is_e4m3 = IsE4m3(scheme_);
  ASSIGN_OR_RETURN(const CheckpointTensor* q,
                   Take(checkpoint, module + ".weight",
                        is_e4m3 ? std::span<const absl::string_view>(kE4m3) : kBytes,
                        {shape_.rows, shape_.cols}));
  q_.words = q->stored.bytes.data();
  q_.row_stride = shape_.cols / 4;
  q_.col_stride = 1;
  if (!is_e4m3) q_.flip = 0x80808080U;
  scales_.rows = scheme_.scale_rows == -1 ? shape_.rows : scheme_.scale_rows;
  const std::int64_t rows = (shape_.rows + scales_.rows - 1) / scales_.rows;
  scales_.row_stride = num_groups();
  scales_.group_stride = 1;
  const std::vector<std::int64_t> shape = scheme_.scale_rows == -1
                                              ? std::vector<std::int64_t>{1}
                                              : std::vector<std::int64_t>{rows, num_groups()};
  const bool is_inverse = scheme_.layout == GroupLayout::kFp8Blocks;
  ASSIGN_OR_RETURN(scales_.tensor,
                   Take(checkpoint, module + (is_inverse ? ".weight_scale_inv" : ".weight_scale"),
                        kScales, shape));
  return absl::OkStatus();
}

absl::Status GroupedTensor::TakeGroupsOfColumns(const Checkpoint& checkpoint,
                                                const std::string& name) {
  if (!scheme_.may_reorder && checkpoint.Find(name) == nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(groups_of_columns_, Take(checkpoint, name, kWords, {shape_.cols}));
  return absl::OkStatus();
}

absl::Status GroupedTensor::CheckContents() {
  RETURN_IF_ERROR(CheckStatedShape());
  RETURN_IF_ERROR(CheckZeros());
  RETURN_IF_ERROR(CheckScales());
  return SetOrder();
}

absl::Status GroupedTensor::CheckStatedShape() const {
  if (stated_shape_ == nullptr) return absl::OkStatus();
  const auto rows = ElementOf<std::int64_t>(*stated_shape_, 0);
  const auto cols = ElementOf<std::int64_t>(*stated_shape_, 1);
  if (rows == shape_.rows && cols == shape_.cols) return absl::OkStatus();
  return TensorError(*stated_shape_,
                     absl::StrCat("says [", rows, ", ", cols, "]; config.json asks for [",
                                  shape_.rows, ", ", shape_.cols, "]"));
}

absl::Status GroupedTensor::CheckZeros() const {
  if (scheme_.zeros != ZeroRule::kOneLess) return absl::OkStatus();
  for (std::int64_t group = 0; group < num_groups(); ++group) {
    for (std::int64_t row = 0; row < shape_.rows; ++row) {
      if (zeros_.At(row, group) != zeros_.most()) continue;
      return TensorError(
          *stored_zeros_,
          absl::StrCat("stores ", zeros_.most(), " for a zero point, which some readers take for ",
                       zeros_.most() + 1, " and some for 0; supported: checkpoint_format gptq_v2, ",
                       "or files whose meta.quantizer is gptqmodel"));
    }
  }
  return absl::OkStatus();
}

absl::Status GroupedTensor::CheckScales() const {
  const std::uint32_t dropped = IsE4m3(scheme_) ? 0 : (1U << kernels::kDroppedScaleBits) - 1;
  const std::vector<std::int64_t>& shape = scales_.tensor->stored.shape;
  const std::int64_t scales = shape.front() * (shape.size() == 1 ? 1 : shape.back());
  for (std::int64_t i = 0; i < scales; ++i) {
    constexpr float kMostSteps = 512;  // no q - z and no e4m3 is greater
    const float s = FloatOf(*scales_.tensor, i);
    if ((std::bit_cast<std::uint32_t>(s) & dropped) != 0) {
      return TensorError(*scales_.tensor, "has scales that neither F16 nor BF16 holds");
    }
    if (!std::isfinite(s * kMostSteps)) {
      return TensorError(*scales_.tensor, "has scales beyond what BF16 weights can have");
    }
  }
  return absl::OkStatus();
}

absl::Status GroupedTensor::SetOrder() {
  if (groups_of_columns_ == nullptr) return absl::OkStatus();
  std::vector<std::vector<std::int32_t>> columns(static_cast<std::size_t>(num_groups()));
  for (std::int64_t col = 0; col < shape_.cols; ++col) {
    const auto group = ElementOf<std::int32_t>(*groups_of_columns_, col);
    if (group < 0 || group >= num_groups()) {
      return TensorError(*groups_of_columns_,
                         absl::StrCat("puts column ", col, " into group ", group,
                                      "; allowed: 0 to ", num_groups() - 1));
    }
    columns[static_cast<std::size_t>(group)].push_back(static_cast<std::int32_t>(col));
  }
  for (const auto& group : columns) {
    if (static_cast<std::int64_t>(group.size()) == group_size_) {
      order_.insert(order_.end(), group.begin(), group.end());
      continue;
    }
    return TensorError(*groups_of_columns_,
                       absl::StrCat("has a group of ", group.size(),
                                    " columns; config.json asks for ", group_size_));
  }
  if (std::is_sorted(order_.begin(), order_.end())) order_.clear();
  if (order_.empty() || scheme_.may_reorder) return absl::OkStatus();
  return TensorError(*groups_of_columns_,
                     "has groups whose columns do not stand together; config.json allows them with "
                     "desc_act true or actorder group");
}

std::uint8_t GroupedTensor::q(std::int64_t row, std::int64_t col) const {
  const std::int64_t stored = order_.empty() ? col : order_[static_cast<std::size_t>(col)];
  return static_cast<std::uint8_t>(q_.At(row, stored));
}

std::uint32_t GroupedTensor::zero(std::int64_t row, std::int64_t group) const {
  if (stored_zeros_ == nullptr) return 1U << (q_.bits - 1);
  return zeros_.At(row, group) + (scheme_.zeros == ZeroRule::kOneLess ? 1 : 0);
}

float GroupedTensor::scale(std::int64_t row, std::int64_t group) const {
  return FloatOf(*scales_.tensor,
                 row / scales_.rows * scales_.row_stride + group * scales_.group_stride);
}

HostSlice GroupedTensor::Slice(const Region& region) const {
  CHECK(order_.empty() || region.cols == shape_.cols, "columns in an order are not parted");
  HostSlice host;
  const std::int64_t row_bytes = kernels::BytesOf(encoding_, region.cols);
  host.owned.resize(static_cast<std::size_t>(region.rows * row_bytes));
  auto* const to = reinterpret_cast<char*>(host.owned.data());
  ForRows(region.rows, region.rows * region.cols, [&](std::int64_t first, std::int64_t end) {
    WriteRows(region, first, end, to + first * row_bytes);
  });
  host.slice = {.data = host.owned.data(),
                .encoding = encoding_,
                .rows = region.rows,
                .cols = region.cols,
                .row_stride = region.cols,
                .order = order_.empty() ? nullptr : order_.data()};
  return host;
}

// By tiles, as rows here may be columns in the file: what a tile reads stays in the cache.
void GroupedTensor::WriteRows(const Region& region, std::int64_t first, std::int64_t end,
                              char* to) const {
  constexpr std::int64_t kTileRows = 64;
  const kernels::BlockShape block = kernels::BlockOf(encoding_);
  const std::int64_t row_bytes = kernels::BytesOf(encoding_, region.cols);
  std::array<std::uint8_t, 128> codes{};
  const std::span<std::uint8_t> used(codes.data(), static_cast<std::size_t>(block.elements));
  for (std::int64_t tile = first; tile < end; tile += kTileRows) {
    for (std::int64_t col = 0; col < region.cols; col += block.elements) {
      for (std::int64_t r = tile; r < std::min(tile + kTileRows, end); ++r) {
        const std::int64_t row = region.first_row + r;
        const std::int64_t first_col = region.first_col + col;
        for (std::size_t i = 0; i < used.size(); ++i) {
          used[i] = q(row, first_col + static_cast<std::int64_t>(i));
        }
        const std::int64_t group = first_col / group_size_;
        kernels::WriteGroupBlock(encoding_, used, zero(row, group), scale(row, group),
                                 to + (r - first) * row_bytes + kernels::BytesOf(encoding_, col));
      }
    }
  }
}

}  // namespace thinkwire::worker::model
