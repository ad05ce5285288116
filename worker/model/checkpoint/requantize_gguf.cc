#include "worker/model/checkpoint/requantize_gguf.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/output_file.h"
#include "common/status.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/unpack_row.h"
#include "worker/model/checkpoint/checkpoint_weights.h"
#include "worker/model/checkpoint/for_rows.h"
#include "worker/model/checkpoint/generation_config.h"
#include "worker/model/checkpoint/gguf_names.h"
#include "worker/model/checkpoint/gguf_values.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/round_to_blocks.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using kernels::Encoding;

constexpr std::uint32_t kF32Id = 0;
constexpr std::uint32_t kQuantizationVersion = 2;  // of the blocks' layouts, since May 2023

// ggml's number of what RoundRow writes.
std::uint32_t TypeIdOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kF32:
      return kF32Id;
    case Encoding::kQ8_0:
      return 8;
    case Encoding::kQ4K:
      return 12;
    case Encoding::kQ6K:
      return 14;
    case Encoding::kBf16:
      return 30;
    default:
      CHECK(false, "an encoding that is written");
  }
}

struct Output {
  TensorSpec spec;  // its encoding is what is written; a vector's rows have one number each
  bool permuted = false;

  std::size_t row_bytes() const {
    return static_cast<std::size_t>(kernels::BytesOf(spec.encoding, spec.cols));
  }
  std::size_t bytes() const { return row_bytes() * static_cast<std::size_t>(spec.rows); }
};

struct Job {
  ModelConfig config;
  std::unique_ptr<CheckpointWeights> weights;
  std::vector<Output> outputs;
  std::vector<float> rope_divisors;
  GgufHeader header;
};

// What holds rows of so many columns.
Encoding Fitting(Encoding wished, std::int64_t columns) {
  for (const Encoding encoding : {wished, Encoding::kQ8_0}) {
    if (columns % kernels::BlockOf(encoding).elements == 0) return encoding;
  }
  return Encoding::kBf16;
}

void AddOutput(TensorSpec spec, Encoding embedding, Job& job) {
  if (spec.name == kEmbeddingName) spec.encoding = embedding;
  spec.encoding = spec.is_vector ? Encoding::kF32 : Fitting(spec.encoding, spec.cols);
  const bool permuted = HasPermutedRows(job.config, spec.name);
  const Output& output = job.outputs.emplace_back(Output{std::move(spec), permuted});
  std::vector<std::int64_t> shape = {output.spec.rows};
  if (!output.spec.is_vector) shape.push_back(output.spec.cols);
  job.header.Tensor(GgufNameOf(output.spec.name), TypeIdOf(output.spec.encoding), shape,
                    output.bytes());
}

void PlanOutputs(ModelPlan plan, GgufFileType type, Job& job) {
  const Encoding most = type == GgufFileType::kQ8_0 ? Encoding::kQ8_0 : Encoding::kQ4K;
  SetMatrixEncoding(most, plan);
  const bool is_head = plan.config.tie_word_embeddings;
  const Encoding embedding = is_head ? plan.head.matrices.front().spec.encoding : most;
  for (TensorSpec& spec : RequiredTensors(plan)) AddOutput(std::move(spec), embedding, job);
  job.rope_divisors = RopeDivisors(plan.config);
  if (job.rope_divisors.empty()) return;
  const std::vector<std::int64_t> shape = {std::ssize(job.rope_divisors)};
  job.header.Tensor(kGgufRopeFactors, kF32Id, shape,
                    std::as_bytes(std::span(job.rope_divisors)).size());
}

absl::StatusOr<Job> Plan(const fs::path& from, GgufFileType type, GgufHeader header) {
  RETURN_IF_ERROR(RefuseRounded(from));
  ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(from));
  ASSIGN_OR_RETURN(const SamplingDefaults sampling, LoadSamplingDefaults(from));
  RETURN_IF_ERROR(AddGgufValues(config, sampling, header));
  header.U32("general.file_type", static_cast<std::uint32_t>(type));
  header.U32("general.quantization_version", kQuantizationVersion);
  Job job;
  job.config = config;
  job.header = std::move(header);
  ModelPlan plan = MakePlan(config);
  ASSIGN_OR_RETURN(job.weights, CheckpointWeights::Open(from, plan));
  PlanOutputs(std::move(plan), type, job);
  return job;
}

void ReadRow(const kernels::WeightSlice& slice, std::int64_t row, std::span<float> out) {
  const char* from = slice.row(row);
  if (slice.encoding == Encoding::kF32) {
    std::memcpy(out.data(), from, out.size_bytes());
    return;
  }
  for (float& value : out) {
    std::uint16_t half;
    std::memcpy(&half, from, sizeof(half));
    from += sizeof(half);
    value =
        slice.encoding == Encoding::kF16 ? kernels::F32FromF16(half) : kernels::F32FromBf16(half);
  }
}

// What a row lost, beside its magnitudes.
struct RowLoss {
  double error = 0;
  double magnitude = 0;
};
RowLoss LossOf(Encoding encoding, std::span<const float> row, const std::byte* rounded) {
  RowLoss loss;
  if (!kernels::IsPacked(encoding)) return loss;
  std::vector<float> became(row.size());
  kernels::UnpackRow(encoding, rounded, static_cast<std::int64_t>(row.size()), became.data());
  for (std::size_t i = 0; i < row.size(); ++i) {
    loss.error += std::fabs(static_cast<double>(row[i]) - became[i]);
    loss.magnitude += std::fabs(static_cast<double>(row[i]));
  }
  return loss;
}

std::vector<std::byte> Round(const Job& job, const Output& output, std::vector<RowLoss>& losses) {
  const TensorSpec& spec = output.spec;
  const HostSlice from = job.weights->Slice(
      spec, {.first_row = 0, .rows = spec.rows, .first_col = 0, .cols = spec.cols});
  std::vector<std::byte> to(output.bytes());
  losses.assign(static_cast<std::size_t>(spec.rows), {});
  ForRows(spec.rows, spec.rows * spec.cols, [&](std::int64_t first, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(spec.cols));
    for (std::int64_t r = first; r < end; ++r) {
      ReadRow(from.slice, r, row);
      const std::int64_t place = output.permuted ? PermutedRow(r, job.config.head_dim) : r;
      std::byte* const at = to.data() + static_cast<std::size_t>(place) * output.row_bytes();
      RoundRow(spec.encoding, row, at);
      losses[static_cast<std::size_t>(r)] = LossOf(spec.encoding, row, at);
    }
  });
  return to;
}

absl::Status WritePadded(std::span<const std::byte> bytes, OutputFile& file) {
  RETURN_IF_ERROR(file.Write(bytes));
  return file.Pad(GgufHeader::PaddingAfter(bytes.size()));
}

absl::Status Write(const Job& job, const fs::path& path, RequantizedLoss& loss) {
  ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  RETURN_IF_ERROR(file.Write(job.header.Bytes()));
  RowLoss sum;
  std::vector<RowLoss> losses;
  for (const Output& output : job.outputs) {
    RETURN_IF_ERROR(WritePadded(Round(job, output, losses), file));
    if (!kernels::IsPacked(output.spec.encoding)) continue;
    ++loss.matrices;
    for (const RowLoss& row : losses) {
      sum = {sum.error + row.error, sum.magnitude + row.magnitude};
    }
  }
  RETURN_IF_ERROR(WritePadded(std::as_bytes(std::span(job.rope_divisors)), file));
  loss.mean_relative_error = sum.magnitude > 0 ? sum.error / sum.magnitude : 0;
  return file.Finish();
}

}  // namespace

absl::StatusOr<RequantizedLoss> RequantizeToGguf(const fs::path& from, const fs::path& to,
                                                 GgufFileType type, GgufHeader header) {
  RequantizedLoss loss;
  RETURN_IF_ERROR(WriteWhole(to, [&](const fs::path& partial) -> absl::Status {
    ASSIGN_OR_RETURN(const Job job, Plan(from, type, std::move(header)));
    return Write(job, partial, loss);
  }));
  return loss;
}

}  // namespace thinkwire::worker::model
