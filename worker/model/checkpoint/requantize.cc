#include "worker/model/checkpoint/requantize.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/json.h"
#include "common/output_file.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/checkpoint_weights.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/rounded_matrix.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr char kConfig[] = "config.json";
constexpr char kQuantization[] = "quantization_config";
constexpr char kWeights[] = "model.safetensors";
constexpr std::array<std::int64_t, 3> kGroups = {128, 64, 32};  // of columns; the first that fits
constexpr std::int64_t kAwqRows = 8;                            // of a packed word

// What is written, decided before anything is.
struct Job {
  Checkpoint checkpoint;
  std::map<std::string, TensorSpec> matrices;  // by name, those to be rounded
  json config;
  RequantizedAs format;
  std::int64_t group;
};

std::string ModuleOf(const std::string& weight) {
  return weight.substr(0, weight.size() - std::string(".weight").size());
}

absl::Status TooNarrow(const TensorSpec& spec, absl::string_view format, std::int64_t group) {
  return absl::InvalidArgumentError(absl::StrCat("tensor ", QuotedName(spec.name), " has ",
                                                 spec.cols, " columns; ", format,
                                                 " takes multiples of ", group));
}

// The one that is asked for, or if that is 0 the first that all widths allow.
absl::StatusOr<std::int64_t> AwqGroup(const std::map<std::string, TensorSpec>& matrices,
                                      std::int64_t asked) {
  std::int64_t group = asked == 0 ? kGroups.front() : asked;
  for (const auto& [name, spec] : matrices) {
    if (spec.rows % kAwqRows != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), " has ", spec.rows,
                       " rows; awq-gemm takes multiples of ", kAwqRows));
    }
    while (asked == 0 && group > kGroups.back() && spec.cols % group != 0) group /= 2;
    if (spec.cols % group != 0) {
      return TooNarrow(spec, asked == 0 ? "awq-gemm" : "awq-gemm in such groups", group);
    }
  }
  return group;
}

absl::StatusOr<std::int64_t> GroupFor(const std::map<std::string, TensorSpec>& matrices,
                                      RequantizedAs format, std::int64_t asked) {
  const bool is_awq = format == RequantizedAs::kAwqGemm;
  const bool is_known = asked == 0 || std::ranges::find(kGroups, asked) != kGroups.end();
  if (!is_known || (asked != 0 && !is_awq)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "group_size is ", asked,
        "; allowed: ", is_awq ? absl::StrJoin(kGroups, ", ") : "none, but for awq-gemm"));
  }
  if (is_awq) return AwqGroup(matrices, asked);
  for (const auto& [name, spec] : matrices) {
    if (spec.cols % kGroups.front() != 0) return TooNarrow(spec, "fp8-block", kGroups.front());
  }
  return kGroups.front();
}

json QuantizationOf(RequantizedAs format, std::int64_t group) {
  if (format == RequantizedAs::kAwqGemm) {
    return {{"quant_method", "awq"},
            {"bits", 4},
            {"group_size", group},
            {"zero_point", true},
            {"version", "gemm"}};
  }
  return {{"quant_method", "fp8"},
          {"fmt", "e4m3"},
          {"activation_scheme", "dynamic"},
          {"weight_block_size", {group, group}}};
}

absl::StatusOr<Job> Plan(const fs::path& from, RequantizedAs format, std::int64_t asked_group) {
  RETURN_IF_ERROR(RefuseRounded(from));
  ASSIGN_OR_RETURN(json config, ReadJsonFile(from / kConfig));
  ASSIGN_OR_RETURN(const ModelConfig model, LoadModelConfig(from));
  ModelPlan plan = MakePlan(model);
  RETURN_IF_ERROR(CheckpointWeights::Open(from, plan).status());
  std::map<std::string, TensorSpec> matrices;
  ForEachMatrix(plan, [&](PlannedTensor& tensor) {
    const std::string& name = tensor.spec.name;
    if (name != kHeadName && name != kEmbeddingName) matrices.emplace(name, tensor.spec);
  });
  ASSIGN_OR_RETURN(const std::int64_t group, GroupFor(matrices, format, asked_group));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(from));
  config[kQuantization] = QuantizationOf(format, group);
  return Job{std::move(checkpoint), std::move(matrices), std::move(config), format, group};
}

std::int64_t BytesOf(const TensorForm& form) {
  std::int64_t bytes = form.dtype == "I32" || form.dtype == "F32" ? 4 : form.dtype == "F16" ? 2 : 1;
  for (const std::int64_t dim : form.shape) bytes *= dim;
  return bytes;
}

// A tensor of the original and what becomes of it.
struct OutputTensor {
  const StoredTensor* stored;
  std::vector<TensorForm> forms;
  bool is_rounded;
};
// One file's tensors.
struct Shard {
  std::vector<OutputTensor> tensors;
  std::int64_t bytes = 0;  // of data
};

OutputTensor OutputOf(const Job& job, const StoredTensor& stored) {
  const auto matrix = job.matrices.find(stored.name);
  if (matrix == job.matrices.end()) {
    return {&stored, {{stored.name, stored.dtype, stored.shape}}, false};
  }
  const TensorSpec& spec = matrix->second;
  return {&stored, FormsOf(ModuleOf(stored.name), spec.rows, spec.cols, job.format, job.group),
          true};
}

std::int64_t BytesOf(const OutputTensor& tensor) {
  if (!tensor.is_rounded) return std::ssize(tensor.stored->bytes);
  std::int64_t bytes = 0;
  for (const TensorForm& form : tensor.forms) bytes += BytesOf(form);
  return bytes;
}

std::vector<Shard> ShardsOf(const Job& job, std::int64_t max_file_bytes) {
  std::vector<Shard> shards(1);
  for (const auto& [name, tensor] : job.checkpoint.tensors()) {
    OutputTensor output = OutputOf(job, tensor.stored);
    const std::int64_t bytes = BytesOf(output);
    if (!shards.back().tensors.empty() && shards.back().bytes + bytes > max_file_bytes) {
      shards.emplace_back();
    }
    shards.back().bytes += bytes;
    shards.back().tensors.push_back(std::move(output));
  }
  return shards;
}

std::string NameOf(std::size_t shard, std::size_t shards) {
  if (shards == 1) return kWeights;
  return absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, shards);
}

// A safetensors header, its length before it.
std::string HeaderOf(const Shard& shard) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::int64_t end = 0;
  for (const OutputTensor& tensor : shard.tensors) {
    for (const TensorForm& form : tensor.forms) {
      const std::int64_t bytes = tensor.is_rounded ? BytesOf(form) : BytesOf(tensor);
      header[form.name] = {
          {"dtype", form.dtype}, {"shape", form.shape}, {"data_offsets", {end, end + bytes}}};
      end += bytes;
    }
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<char>(text.size() >> 8 * i & 0xFFU);
  }
  return length + text;
}

// Sums of what was lost.
struct Loss {
  std::int64_t matrices = 0;
  double error = 0;
  double magnitude = 0;
};

absl::Status WriteShard(const Job& job, const Shard& shard, const fs::path& path, Loss& loss) {
  ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  RETURN_IF_ERROR(file.Write(HeaderOf(shard)));
  for (const OutputTensor& tensor : shard.tensors) {
    if (!tensor.is_rounded) {
      RETURN_IF_ERROR(file.Write(tensor.stored->bytes));
      continue;
    }
    const RoundedMatrix rounded = RoundMatrix(*tensor.stored, job.format, job.group);
    for (const std::vector<std::byte>& bytes : rounded.tensors) RETURN_IF_ERROR(file.Write(bytes));
    loss.error += rounded.error;
    loss.magnitude += rounded.magnitude;
    ++loss.matrices;
  }
  return file.Finish();
}

absl::Status WriteText(const std::string& text, const fs::path& path) {
  ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  RETURN_IF_ERROR(file.Write(text));
  return file.Finish();
}

// model.safetensors.index.json
json IndexOf(const std::vector<Shard>& shards) {
  json files = json::object();
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    bytes += shards[i].bytes;
    for (const OutputTensor& tensor : shards[i].tensors) {
      for (const TensorForm& form : tensor.forms) files[form.name] = NameOf(i, shards.size());
    }
  }
  return {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(files)}};
}

absl::StatusOr<RequantizedLoss> WriteWeights(const Job& job, const fs::path& folder,
                                             std::int64_t max_file_bytes) {
  const std::vector<Shard> shards = ShardsOf(job, max_file_bytes);
  Loss loss;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    RETURN_IF_ERROR(WriteShard(job, shards[i], folder / NameOf(i, shards.size()), loss));
  }
  if (shards.size() > 1) {
    RETURN_IF_ERROR(
        WriteText(IndexOf(shards).dump(2) + '\n', folder / absl::StrCat(kWeights, ".index.json")));
  }
  return RequantizedLoss{loss.matrices, loss.magnitude > 0 ? loss.error / loss.magnitude : 0};
}

// Whether a file of the folder is neither weights nor what is written anew.
bool IsBesideWeights(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == kConfig || name.ends_with(".index.json")) return false;
  constexpr std::array<const char*, 4> kKinds = {".json", ".txt", ".jinja", ".model"};
  return std::ranges::find(kKinds, file.extension().string()) != kKinds.end();
}

// A copy is written as all else is, so that the disk has it.
absl::Status CopyBeside(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    if (!IsBesideWeights(entry.path()) || !fs::is_regular_file(entry.path(), error)) continue;
    ASSIGN_OR_RETURN(const std::string text, ReadFile(entry.path(), kMaxTokenizerBytes));
    RETURN_IF_ERROR(WriteText(text, to / entry.path().filename()));
  }
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(ShownText(from.string()), ": cannot be read: ", error.message()));
}

absl::Status WriteAll(const Job& job, const fs::path& from, const fs::path& to,
                      std::int64_t max_file_bytes, RequantizedLoss& loss) {
  std::error_code error;
  if (!fs::create_directory(to, error)) {
    return absl::UnavailableError(
        absl::StrCat(ShownText(to.string()), ": cannot be written: ", error.message()));
  }
  ASSIGN_OR_RETURN(loss, WriteWeights(job, to, max_file_bytes));
  RETURN_IF_ERROR(WriteText(job.config.dump(2) + '\n', to / kConfig));
  return CopyBeside(from, to);
}

}  // namespace

absl::Status RefuseRounded(const fs::path& from) {
  ASSIGN_OR_RETURN(const json config, ReadJsonFile(from / kConfig));
  if (!config.is_object() || !config.contains(kQuantization)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat((from / kConfig).string(), ": ", kQuantization,
                   " is there: its weights are rounded already, and what was rounded twice is "
                   "worth less"));
}

absl::StatusOr<RequantizedLoss> Requantize(const fs::path& from, const fs::path& to,
                                           RequantizedAs format, std::int64_t max_file_bytes,
                                           std::int64_t group) {
  RequantizedLoss loss;
  RETURN_IF_ERROR(WriteWhole(to, [&](const fs::path& partial) -> absl::Status {
    ASSIGN_OR_RETURN(const Job job, Plan(from, format, group));
    return WriteAll(job, from, partial, max_file_bytes, loss);
  }));
  return loss;
}

}  // namespace thinkwire::worker::model
