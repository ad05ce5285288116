#include "worker/model/checkpoint/requantize.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/json.h"
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

absl::StatusOr<std::int64_t> GroupFor(const std::map<std::string, TensorSpec>& matrices,
                                      RequantizedAs format) {
  const auto fits = [&](std::int64_t group) {
    return std::ranges::all_of(matrices, [&](const auto& m) { return m.second.cols % group == 0; });
  };
  const bool is_awq = format == RequantizedAs::kAwqGemm;
  for (const auto& [name, spec] : matrices) {
    if (is_awq && spec.rows % kAwqRows != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), " has ", spec.rows,
                       " rows; awq-gemm takes multiples of ", kAwqRows));
    }
    if (!is_awq && spec.cols % kGroups.front() != 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", QuotedName(name), " has ", spec.cols,
                       " columns; fp8-block takes multiples of ", kGroups.front()));
    }
  }
  const auto* found = std::ranges::find_if(kGroups, fits);
  if (found != kGroups.end()) return *found;
  return absl::InvalidArgumentError(
      absl::StrCat("matrices' columns are not all multiples of ", kGroups.back()));
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

absl::StatusOr<Job> Plan(const fs::path& from, RequantizedAs format) {
  ASSIGN_OR_RETURN(json config, ReadJsonFile(from / kConfig));
  if (config.is_object() && config.contains(kQuantization)) {
    return absl::InvalidArgumentError(
        absl::StrCat((from / kConfig).string(), ": ", kQuantization,
                     " is there: its weights are rounded "
                     "already, and what was rounded twice is worth less"));
  }
  ASSIGN_OR_RETURN(const ModelConfig model, LoadModelConfig(from));
  ModelPlan plan = MakePlan(model);
  RETURN_IF_ERROR(CheckpointWeights::Open(from, plan).status());
  std::map<std::string, TensorSpec> matrices;
  ForEachMatrix(plan, [&](PlannedTensor& tensor) {
    const std::string& name = tensor.spec.name;
    if (name != kHeadName && name != kEmbeddingName) matrices.emplace(name, tensor.spec);
  });
  ASSIGN_OR_RETURN(const std::int64_t group, GroupFor(matrices, format));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::Open(from));
  config[kQuantization] = QuantizationOf(format, group);
  return Job{std::move(checkpoint), std::move(matrices), std::move(config), format, group};
}

std::int64_t BytesOf(const TensorForm& form) {
  std::int64_t bytes = form.dtype == "I32" || form.dtype == "F32" ? 4 : form.dtype == "F16" ? 2 : 1;
  for (const std::int64_t dim : form.shape) bytes *= dim;
  return bytes;
}

// A safetensors header, its length before it.
std::string HeaderOf(const Job& job) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  std::int64_t end = 0;
  const auto add = [&](const TensorForm& form, std::int64_t bytes) {
    header[form.name] = {
        {"dtype", form.dtype}, {"shape", form.shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  };
  for (const auto& [name, tensor] : job.checkpoint.tensors()) {
    const StoredTensor& stored = tensor.stored;
    const auto matrix = job.matrices.find(name);
    if (matrix == job.matrices.end()) {
      add({name, stored.dtype, stored.shape}, static_cast<std::int64_t>(stored.bytes.size()));
      continue;
    }
    for (const TensorForm& form :
         FormsOf(ModuleOf(name), matrix->second.rows, matrix->second.cols, job.format, job.group)) {
      add(form, BytesOf(form));
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

void Write(std::span<const std::byte> bytes, std::ofstream& out) {
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
}

absl::Status CannotWrite(const fs::path& path) {
  return absl::UnavailableError(absl::StrCat(path.string(), ": cannot be written; is it full?"));
}

absl::StatusOr<RequantizedLoss> WriteWeights(const Job& job, const fs::path& path) {
  std::ofstream out(path, std::ios::binary);
  const std::string header = HeaderOf(job);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  RequantizedLoss loss;
  double error = 0;
  double magnitude = 0;
  for (const auto& [name, tensor] : job.checkpoint.tensors()) {
    if (!job.matrices.contains(name)) {
      Write(tensor.stored.bytes, out);
    } else {
      const RoundedMatrix rounded = RoundMatrix(tensor.stored, job.format, job.group);
      for (const std::vector<std::byte>& bytes : rounded.tensors) Write(bytes, out);
      error += rounded.error;
      magnitude += rounded.magnitude;
      ++loss.matrices;
    }
    if (!out) return CannotWrite(path);
  }
  out.close();
  if (!out) return CannotWrite(path);
  loss.mean_relative_error = magnitude > 0 ? error / magnitude : 0;
  return loss;
}

// Whether a file of the folder is neither weights nor what is written anew.
bool IsBesideWeights(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == kConfig || name.ends_with(".index.json")) return false;
  constexpr std::array<const char*, 4> kKinds = {".json", ".txt", ".jinja", ".model"};
  return std::ranges::find(kKinds, file.extension().string()) != kKinds.end();
}

absl::Status CopyBeside(const fs::path& from, const fs::path& to) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    if (!IsBesideWeights(entry.path()) || !fs::is_regular_file(entry.path(), error)) continue;
    if (!fs::copy_file(entry.path(), to / entry.path().filename(), error)) {
      return CannotWrite(to / entry.path().filename());
    }
  }
  return error ? CannotWrite(to) : absl::OkStatus();
}

absl::StatusOr<RequantizedLoss> WriteAll(const Job& job, const fs::path& from, const fs::path& to) {
  ASSIGN_OR_RETURN(const RequantizedLoss loss, WriteWeights(job, to / kWeights));
  std::ofstream config(to / kConfig);
  config << job.config.dump(2) << '\n';
  config.close();
  if (!config) return CannotWrite(to / kConfig);
  RETURN_IF_ERROR(CopyBeside(from, to));
  return loss;
}

absl::Status CheckFree(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(ShownText(path.string()), ": is there already, and nothing is written over"));
}

}  // namespace

absl::StatusOr<RequantizedLoss> Requantize(const fs::path& from, const fs::path& to,
                                           RequantizedAs format) {
  fs::path partial = to.has_filename() ? to : to.parent_path();
  const fs::path whole = partial;
  partial += ".partial";
  RETURN_IF_ERROR(CheckFree(whole));
  RETURN_IF_ERROR(CheckFree(partial));
  ASSIGN_OR_RETURN(const Job job, Plan(from, format));
  std::error_code error;
  if (!fs::create_directory(partial, error)) return CannotWrite(partial);
  absl::StatusOr<RequantizedLoss> loss = WriteAll(job, from, partial);
  if (loss.ok()) {
    fs::rename(partial, whole, error);
    if (error) loss = CannotWrite(whole);
  }
  if (!loss.ok()) fs::remove_all(partial, error);
  return loss;
}

}  // namespace thinkwire::worker::model
