#include "worker/model/checkpoint/rounded_matrix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "worker/kernels/blocks_fp8.h"
#include "worker/kernels/convert.h"
#include "worker/model/checkpoint/round_to_nearest.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kBlock = 128;  // rows and columns of FP8 that share a scale
constexpr std::int64_t kPerWord = 8;  // numbers of AWQ
constexpr std::array<int, kPerWord> kPlaces = {0, 4, 1, 5, 2, 6, 3, 7};

struct Host {};  // the instruction set that everything runs on

template <class T>
T LoadElement(const StoredTensor& tensor, std::int64_t i) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

float ElementOf(const StoredTensor& tensor, std::int64_t i) {
  if (tensor.dtype == "F32") return LoadElement<float>(tensor, i);
  const auto half = LoadElement<std::uint16_t>(tensor, i);
  return tensor.dtype == "F16" ? kernels::F32FromF16(half) : kernels::F32FromBf16(half);
}

template <class T>
void Store(T value, std::int64_t i, std::vector<std::byte>& to) {
  std::memcpy(to.data() + static_cast<std::size_t>(i) * sizeof(T), &value, sizeof(T));
}

// Puts `number` into place `column` of a row of packed words.
void StoreNumber(std::uint8_t number, std::int64_t row_words, std::int64_t column,
                 std::vector<std::byte>& words) {
  const std::int64_t i = row_words + column / kPerWord;
  std::uint32_t word;
  std::memcpy(&word, words.data() + i * 4, sizeof(word));
  word |= static_cast<std::uint32_t>(number) << 4 * kPlaces[column % kPerWord];
  Store(word, i, words);
}

std::vector<std::byte> Zeroed(std::int64_t bytes) {
  return std::vector<std::byte>(static_cast<std::size_t>(bytes));
}

void Count(float weight, float became, RoundedMatrix& out) {
  out.error += std::fabs(static_cast<double>(weight) - became);
  out.magnitude += std::fabs(static_cast<double>(weight));
}

// The group of columns that begins at `col` of row `row`.
void RoundGroup(const StoredTensor& matrix, std::int64_t row, std::int64_t col, std::int64_t group,
                RoundedMatrix& out) {
  const std::int64_t rows = matrix.shape[0];
  std::vector<float> weights(static_cast<std::size_t>(group));
  std::vector<std::uint8_t> q(weights.size());
  for (std::int64_t i = 0; i < group; ++i) {
    weights[i] = ElementOf(matrix, row * matrix.shape[1] + col + i);
  }
  const Int4Scale scale = RoundToInt4(weights, q.data());
  const float s = kernels::F32FromF16(scale.scale);
  for (std::int64_t i = 0; i < group; ++i) {
    StoreNumber(q[i], (col + i) * (rows / kPerWord), row, out.tensors[0]);
    Count(weights[i], static_cast<float>(q[i] - scale.zero) * s, out);
  }
  StoreNumber(scale.zero, col / group * (rows / kPerWord), row, out.tensors[1]);
  Store(scale.scale, col / group * rows + row, out.tensors[2]);
}

RoundedMatrix RoundToAwq(const StoredTensor& matrix, std::int64_t group) {
  const std::int64_t rows = matrix.shape[0];
  const std::int64_t cols = matrix.shape[1];
  RoundedMatrix out = {.tensors = {Zeroed(cols * rows / 2), Zeroed(cols / group * rows / 2),
                                   Zeroed(cols / group * rows * 2)}};
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t col = 0; col < cols; col += group) RoundGroup(matrix, row, col, group, out);
  }
  return out;
}

// The block that begins at [row, col].
void RoundBlock(const StoredTensor& matrix, std::int64_t row, std::int64_t col,
                RoundedMatrix& out) {
  const std::int64_t cols = matrix.shape[1];
  const std::int64_t height = std::min(kBlock, matrix.shape[0] - row);
  std::vector<float> weights(static_cast<std::size_t>(height * kBlock));
  const auto place = [&](std::int64_t i) { return (row + i / kBlock) * cols + col + i % kBlock; };
  for (std::int64_t i = 0; i < height * kBlock; ++i) weights[i] = ElementOf(matrix, place(i));
  std::vector<std::uint8_t> codes(weights.size());
  const float scale = RoundToE4m3(weights, codes.data());
  for (std::int64_t i = 0; i < height * kBlock; ++i) {
    Store(codes[i], place(i), out.tensors[0]);
    Count(weights[i], kernels::FloatFromE4m3<Host>(codes[i]) * scale, out);
  }
  Store(scale, row / kBlock * (cols / kBlock) + col / kBlock, out.tensors[1]);
}

RoundedMatrix RoundToFp8(const StoredTensor& matrix) {
  const std::int64_t rows = matrix.shape[0];
  const std::int64_t cols = matrix.shape[1];
  const std::int64_t blocks = (rows + kBlock - 1) / kBlock * (cols / kBlock);
  RoundedMatrix out = {.tensors = {Zeroed(rows * cols), Zeroed(blocks * 4)}};
  for (std::int64_t row = 0; row < rows; row += kBlock) {
    for (std::int64_t col = 0; col < cols; col += kBlock) RoundBlock(matrix, row, col, out);
  }
  return out;
}

}  // namespace

std::vector<TensorForm> FormsOf(const std::string& module, std::int64_t rows, std::int64_t cols,
                                RequantizedAs format, std::int64_t group) {
  if (format == RequantizedAs::kAwqGemm) {
    return {{module + ".qweight", "I32", {cols, rows / kPerWord}},
            {module + ".qzeros", "I32", {cols / group, rows / kPerWord}},
            {module + ".scales", "F16", {cols / group, rows}}};
  }
  return {{module + ".weight", "F8_E4M3", {rows, cols}},
          {module + ".weight_scale_inv", "F32", {(rows + kBlock - 1) / kBlock, cols / kBlock}}};
}

RoundedMatrix RoundMatrix(const StoredTensor& matrix, RequantizedAs format, std::int64_t group) {
  return format == RequantizedAs::kAwqGemm ? RoundToAwq(matrix, group) : RoundToFp8(matrix);
}

}  // namespace thinkwire::worker::model
