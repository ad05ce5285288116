#include "tests/worker/model/quantized_model.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "common/check.h"
#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/model_files.h"
#include "worker/kernels/convert.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using nlohmann::json;

// A safetensors file in the making.
class TensorFile {
 public:
  void Add(const std::string& name, const std::string& dtype,
           const std::vector<std::int64_t>& shape, const std::string& bytes) {
    header_[name] = {{"dtype", dtype},
                     {"shape", shape},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }
  void Add(const std::string& name, const FloatTensor& tensor, Encoding encoding) {
    Add(name, encoding == Encoding::kF16 ? "F16" : "BF16", tensor.shape,
        Encoded(tensor.values, encoding));
  }
  void Write(const std::filesystem::path& folder) const {
    WriteFile(folder / "model.safetensors", Safetensors(header_, data_));
  }

 private:
  json header_ = json::object();
  std::string data_;
};

// A table of whole numbers.
struct Table {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::vector<std::uint32_t> numbers;

  Table(std::int64_t r, std::int64_t c)
      : rows(r), cols(c), numbers(static_cast<std::size_t>(r * c)) {}
  std::uint32_t& at(std::int64_t row, std::int64_t col) {
    return numbers[static_cast<std::size_t>(row * cols + col)];
  }
};

// Words of `bits` bits each along the columns, number i of a word in place order[i].
std::string Words(Table table, int bits, const std::array<int, 8>& order) {
  std::string bytes;
  const std::int64_t per_word = 32 / bits;
  for (std::int64_t row = 0; row < table.rows; ++row) {
    for (std::int64_t col = 0; col < table.cols; col += per_word) {
      std::uint32_t word = 0;
      for (std::int64_t i = 0; i < per_word && col + i < table.cols; ++i) {
        word |= table.at(row, col + i) << (bits * order[static_cast<std::size_t>(i)]);
      }
      bytes += GgufWriter::Bytes(word);
    }
  }
  return bytes;
}

Table Transposed(Table table) {
  Table out(table.cols, table.rows);
  for (std::int64_t row = 0; row < table.rows; ++row) {
    for (std::int64_t col = 0; col < table.cols; ++col) out.at(col, row) = table.at(row, col);
  }
  return out;
}

// Words along the rows: four bytes of word w of column c stand where Words puts them for row c.
std::string WordsAlongRows(const Table& table, int bits) {
  const Table sideways = Transposed(table);
  const std::string words = Words(sideways, bits, {0, 1, 2, 3, 4, 5, 6, 7});
  const std::int64_t per_row = (sideways.cols * bits + 31) / 32;
  std::string bytes;
  for (std::int64_t word = 0; word < per_row; ++word) {
    for (std::int64_t row = 0; row < sideways.rows; ++row) {
      bytes += words.substr(static_cast<std::size_t>(4 * (row * per_row + word)), 4);
    }
  }
  return bytes;
}

// The numbers of a matrix.
struct Quantized {
  Table q;
  Table zeros;
  FloatTensor scales;  // [rows, groups]
  std::vector<std::int64_t> group_of;
  FloatTensor weights;  // what they stand for
};

float Half(float x) {
  std::uint16_t bits = 0;
  const std::string bytes = Encoded({x}, Encoding::kF16);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(&bits));
  return kernels::F32FromF16(bits);
}

void QuantizeGroup(const FloatTensor& dense, const std::vector<std::int64_t>& columns,
                   const QuantizedForm& form, std::int64_t row, std::int64_t group,
                   Quantized& out) {
  const auto value = [&](std::int64_t col) {
    return dense.values[static_cast<std::size_t>(row * dense.shape[1] + col)];
  };
  float least = 0;
  float most = 0;
  for (const std::int64_t col : columns) {
    least = std::min(least, value(col));
    most = std::max(most, value(col));
  }
  const auto steps = static_cast<float>((1 << form.bits) - 1);
  const float scale = Half(std::max(1e-4F, (most - least) / steps));
  const float zero = std::clamp(std::nearbyint(-least / scale), 1.0F, steps);
  out.zeros.at(row, group) = static_cast<std::uint32_t>(zero);
  out.scales.values[static_cast<std::size_t>(row * out.zeros.cols + group)] = scale;
  for (const std::int64_t col : columns) {
    const float q = std::clamp(std::nearbyint(value(col) / scale) + zero, 0.0F, steps);
    out.q.at(row, col) = static_cast<std::uint32_t>(q);
    out.weights.values[static_cast<std::size_t>(row * dense.shape[1] + col)] = (q - zero) * scale;
  }
}

Quantized Quantize(const FloatTensor& dense, const QuantizedForm& form) {
  const std::int64_t rows = dense.shape[0];
  const std::int64_t cols = dense.shape[1];
  const std::int64_t size = form.group == -1 ? cols : form.group;
  const std::int64_t groups = cols / size;
  CHECK(cols % size == 0, "whole groups");
  Quantized out{
      .q = {rows, cols},
      .zeros = {rows, groups},
      .scales = {{rows, groups}, std::vector<float>(static_cast<std::size_t>(rows * groups))},
      .group_of = {},
      .weights = dense};
  std::vector<std::vector<std::int64_t>> columns(static_cast<std::size_t>(groups));
  for (std::int64_t col = 0; col < cols; ++col) {
    const std::int64_t group = form.reordered ? (col * 7 + 3) % groups : col / size;
    out.group_of.push_back(group);
    columns[static_cast<std::size_t>(group)].push_back(col);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t g = 0; g < groups; ++g) {
      QuantizeGroup(dense, columns[static_cast<std::size_t>(g)], form, row, g, out);
    }
  }
  return out;
}

FloatTensor Transposed(const FloatTensor& tensor) {
  FloatTensor out = {{tensor.shape[1], tensor.shape[0]}, {}};
  for (std::int64_t col = 0; col < tensor.shape[1]; ++col) {
    for (std::int64_t row = 0; row < tensor.shape[0]; ++row) {
      out.values.push_back(tensor.values[static_cast<std::size_t>(row * tensor.shape[1] + col)]);
    }
  }
  return out;
}

void AddAwq(const std::string& module, const Quantized& q, TensorFile& file) {
  const std::array<int, 8> order = {0, 4, 1, 5, 2, 6, 3, 7};
  file.Add(module + ".qweight", "I32", {q.q.cols, q.q.rows / 8}, Words(Transposed(q.q), 4, order));
  file.Add(module + ".qzeros", "I32", {q.zeros.cols, q.q.rows / 8},
           Words(Transposed(q.zeros), 4, order));
  file.Add(module + ".scales", Transposed(q.scales), Encoding::kF16);
}

void AddGptq(const std::string& module, Quantized q, int bits, TensorFile& file) {
  file.Add(module + ".qweight", "I32", {q.q.cols * bits / 32, q.q.rows},
           WordsAlongRows(Transposed(q.q), bits));
  for (std::uint32_t& zero : q.zeros.numbers) zero -= 1;
  file.Add(module + ".qzeros", "I32", {q.zeros.cols, q.q.rows * bits / 32},
           Words(Transposed(q.zeros), bits, {0, 1, 2, 3, 4, 5, 6, 7}));
  file.Add(module + ".scales", Transposed(q.scales), Encoding::kF16);
  std::string groups;
  for (const std::int64_t group : q.group_of) {
    groups += GgufWriter::Bytes(static_cast<std::int32_t>(group));
  }
  file.Add(module + ".g_idx", "I32", {q.q.cols}, groups);
}

void AddPackQuantized(const std::string& module, const Quantized& q, int bits, TensorFile& file) {
  file.Add(module + ".weight_packed", "I32", {q.q.rows, q.q.cols * bits / 32},
           Words(q.q, bits, {0, 1, 2, 3, 4, 5, 6, 7}));
  file.Add(module + ".weight_scale", q.scales, Encoding::kF16);
  file.Add(module + ".weight_zero_point", "I32", {(q.q.rows * bits + 31) / 32, q.zeros.cols},
           WordsAlongRows(q.zeros, bits));
  file.Add(module + ".weight_shape", "I64", {2},
           GgufWriter::Bytes(q.q.rows) + GgufWriter::Bytes(q.q.cols));
}

// The numbers of e4m3 that are not negative, by their bytes.
std::vector<float> MagnitudesOfE4m3() {
  std::vector<float> values;
  for (int code = 0; code < 127; ++code) {
    const int exponent = code >> 3;
    const int fraction = code & 7;
    values.push_back(exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                   : std::ldexp(static_cast<float>(8 + fraction), exponent - 10));
  }
  return values;
}

// The nearest e4m3 of a number up to 448.
std::uint8_t E4m3Of(float x, const std::vector<float>& magnitudes) {
  const float magnitude = std::abs(x);
  auto nearest = std::lower_bound(magnitudes.begin(), magnitudes.end() - 1, magnitude);
  if (nearest != magnitudes.begin() && magnitude - nearest[-1] <= *nearest - magnitude) --nearest;
  return static_cast<std::uint8_t>((nearest - magnitudes.begin()) | (x < 0 ? 0x80 : 0));
}

// A matrix in bytes, with a scale for each block of so many rows and columns.
struct Bytes {
  bool is_e4m3;
  std::int64_t block_rows;
  std::int64_t block_cols;
  FloatTensor scales = {};
  std::string codes = {};
  FloatTensor weights = {};  // what they stand for

  float& scale(std::int64_t row, std::int64_t col) {
    return scales
        .values[static_cast<std::size_t>(row / block_rows * scales.shape[1] + col / block_cols)];
  }
};

// The scales by which no number goes out of range.
void SetScales(const FloatTensor& dense, Bytes& out) {
  const std::int64_t rows = dense.shape[0];
  const std::int64_t cols = dense.shape[1];
  out.scales.shape = {(rows + out.block_rows - 1) / out.block_rows, cols / out.block_cols};
  out.scales.values.assign(static_cast<std::size_t>(out.scales.shape[0] * out.scales.shape[1]),
                           1e-6F);
  const float most = out.is_e4m3 ? 400.0F : 120.0F;
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    float& scale = out.scale(i / cols, i % cols);
    scale = std::max(scale, std::abs(dense.values[static_cast<std::size_t>(i)]) / most);
  }
  if (out.is_e4m3) return;
  for (float& scale : out.scales.values) {
    scale = kernels::F32FromBf16(kernels::Bf16FromF32(scale));
  }
}

void QuantizeBytes(const FloatTensor& dense, Bytes& out) {
  const std::vector<float> magnitudes = MagnitudesOfE4m3();
  SetScales(dense, out);
  out.weights.shape = dense.shape;
  for (std::size_t i = 0; i < dense.values.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    const float scale = out.scale(at / dense.shape[1], at % dense.shape[1]);
    float number = std::nearbyint(dense.values[i] / scale);
    auto code = static_cast<std::uint8_t>(static_cast<std::int8_t>(out.is_e4m3 ? 0.0F : number));
    if (out.is_e4m3) {
      code = E4m3Of(dense.values[i] / scale, magnitudes);
      number = magnitudes[code & 0x7FU] * (code & 0x80U ? -1.0F : 1.0F);
    }
    out.codes += static_cast<char>(code);
    out.weights.values.push_back(number * scale);
  }
}

// Returns what they stand for.
FloatTensor AddBytes(const std::string& module, const FloatTensor& dense, const QuantizedForm& form,
                     TensorFile& file) {
  const bool in_blocks = form.method == "fp8";
  Bytes bytes = {.is_e4m3 = form.method != "int-quantized",
                 .block_rows = in_blocks ? 128 : 1,
                 .block_cols = in_blocks ? 128 : dense.shape[1]};
  QuantizeBytes(dense, bytes);
  file.Add(module + ".weight", bytes.is_e4m3 ? "F8_E4M3" : "I8", dense.shape, bytes.codes);
  file.Add(module + (in_blocks ? ".weight_scale_inv" : ".weight_scale"),
           bytes.is_e4m3 ? "F32" : "BF16", bytes.scales.shape,
           Encoded(bytes.scales.values, bytes.is_e4m3 ? Encoding::kF32 : Encoding::kBf16));
  return bytes.weights;
}

// NF4's numbers (QLoRA, arXiv:2305.14314, appendix E).
constexpr std::array<float, 16> kNf4 = {-1.0F,        -0.6961928F,  -0.52507305F, -0.3949175F,
                                        -0.28444138F, -0.18477343F, -0.09105004F, 0.0F,
                                        0.0795803F,   0.1609302F,   0.2461123F,   0.33791524F,
                                        0.44070983F,  0.562617F,    0.72295684F,  1.0F};

std::uint8_t Nf4Of(float x) {
  const auto is_nearer = [x](float a, float b) { return std::abs(a - x) < std::abs(b - x); };
  return static_cast<std::uint8_t>(std::min_element(kNf4.begin(), kNf4.end(), is_nearer) -
                                   kNf4.begin());
}

// Blocks of 64 weights share a greatest magnitude, whatever row they are of; of two codes in a byte
// the first is in the high bits. Returns what they stand for.
FloatTensor AddNf4(const std::string& name, const FloatTensor& dense, TensorFile& file) {
  constexpr std::size_t kBlock = 64;
  FloatTensor weights = {dense.shape, {}};
  std::vector<float> most;
  std::string codes;
  for (std::size_t i = 0; i < dense.values.size(); ++i) {
    if (i % kBlock == 0) {
      most.push_back(1e-6F);
      for (std::size_t j = i; j < std::min(i + kBlock, dense.values.size()); ++j) {
        most.back() = std::max(most.back(), std::abs(dense.values[j]));
      }
    }
    const std::uint8_t code = Nf4Of(dense.values[i] / most.back());
    weights.values.push_back(kNf4[code] * most.back());
    if (i % 2 == 0) codes += '\0';
    codes.back() = static_cast<char>(static_cast<std::uint8_t>(codes.back()) << 4 | code);
  }
  const std::string state = json({{"quant_type", "nf4"},
                                  {"blocksize", kBlock},
                                  {"dtype", "bfloat16"},
                                  {"shape", dense.shape}})
                                .dump();
  const auto size = [](const auto& all) { return static_cast<std::int64_t>(all.size()); };
  file.Add(name, "U8", {size(codes), 1}, codes);
  file.Add(name + ".absmax", "F32", {size(most)}, Encoded(most, Encoding::kF32));
  file.Add(name + ".quant_map", "F32", {size(kNf4)},
           Encoded({kNf4.begin(), kNf4.end()}, Encoding::kF32));
  file.Add(name + ".quant_state.bitsandbytes__nf4", "U8", {size(state)}, state);
  return weights;
}

json ConfigOf(const QuantizedForm& form, const std::string& kept) {
  if (form.method == "nf4") {
    return {{"quant_method", "bitsandbytes"},
            {"load_in_4bit", true},
            {"bnb_4bit_quant_type", "nf4"},
            {"bnb_4bit_quant_storage", "uint8"},
            {"llm_int8_skip_modules", {"lm_head", kept}}};
  }
  if (form.method == "fp8") {
    return {{"quant_method", "fp8"},
            {"fmt", "e4m3"},
            {"weight_block_size", {128, 128}},
            {"activation_scheme", "dynamic"}};
  }
  if (form.method.ends_with("-quantized")) {
    const char* type = form.method == "float-quantized" ? "float" : "int";
    return {{"quant_method", "compressed-tensors"},
            {"format", form.method},
            {"ignore", {"lm_head"}},
            {"config_groups",
             {{"group_0",
               {{"targets", {"Linear"}},
                {"input_activations", {{"num_bits", 8}, {"type", type}, {"dynamic", true}}},
                {"weights", {{"num_bits", 8}, {"type", type}, {"strategy", "channel"}}}}}}}};
  }
  if (form.method == "awq") {
    return {{"quant_method", "awq"}, {"bits", 4},         {"group_size", form.group},
            {"zero_point", true},    {"version", "gemm"}, {"modules_to_not_convert", {kept}}};
  }
  if (form.method == "gptq") {
    return {{"quant_method", "gptq"},
            {"bits", form.bits},
            {"group_size", form.group},
            {"desc_act", form.reordered},
            {"sym", false},
            {"lm_head", form.head},
            {"dynamic", {{"-:.*" + kept, json::object()}}}};
  }
  const json weights = {{"num_bits", form.bits},
                        {"type", "int"},
                        {"symmetric", false},
                        {"strategy", form.group == -1 ? "channel" : "group"},
                        {"group_size", form.group == -1 ? json() : json(form.group)}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"ignore", {"lm_head", "re:.*" + kept}},
          {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}}}}}};
}

bool IsQuantized(const std::string& name, const QuantizedForm& form, const std::string& kept) {
  if (name.find(kept) != name.npos) return false;
  return name.ends_with("_proj.weight") || name.ends_with("_proj_with_mqa.weight") ||
         (form.head && name == "lm_head.weight");
}

void CopyRest(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::create_directories(to);
  for (const auto& entry : std::filesystem::directory_iterator(from)) {
    const std::string name = entry.path().filename();
    if (name.find("safetensors") == name.npos) {
      std::filesystem::copy_file(entry.path(), to / name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
  }
}

}  // namespace

void WriteQuantized(const std::filesystem::path& from, const QuantizedForm& form,
                    const std::filesystem::path& packed, const std::filesystem::path& dense,
                    const std::string& kept) {
  CopyRest(from, packed);
  CopyRest(from, dense);
  json config = json::parse(ReadFile(from / "config.json"));
  config["quantization_config"] = ConfigOf(form, kept);
  WriteFile(packed / "config.json", config.dump());
  TensorFile packed_file;
  TensorFile dense_file;
  for (const auto& [name, tensor] : ReadFloats(from)) {
    if (!IsQuantized(name, form, kept)) {
      const Encoding encoding = name.ends_with(".bias") ? Encoding::kF16 : Encoding::kBf16;
      packed_file.Add(name, tensor, encoding);
      dense_file.Add(name, tensor, encoding);
      continue;
    }
    const std::string module = name.substr(0, name.size() - std::string(".weight").size());
    if (form.method == "fp8" || form.method.ends_with("-quantized")) {
      dense_file.Add(name, AddBytes(module, tensor, form, packed_file), Encoding::kBf16);
      continue;
    }
    if (form.method == "nf4") {
      dense_file.Add(name, AddNf4(name, tensor, packed_file), Encoding::kBf16);
      continue;
    }
    const Quantized quantized = Quantize(tensor, form);
    if (form.method == "awq") AddAwq(module, quantized, packed_file);
    if (form.method == "gptq") AddGptq(module, quantized, form.bits, packed_file);
    if (form.method == "compressed-tensors") {
      AddPackQuantized(module, quantized, form.bits, packed_file);
    }
    dense_file.Add(name, quantized.weights, Encoding::kBf16);
  }
  packed_file.Write(packed);
  dense_file.Write(dense);
}

}  // namespace thinkwire::worker::model
