#include "tests/bench/engine_bench.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/gguf_file.h"
#include "common/status.h"
#include "tests/bench/batch_run.h"
#include "tests/bench/distill_shapes.h"
#include "tests/bench/memory_watch.h"
#include "tests/bench/model_costs.h"
#include "tests/bench/runner_probe.h"
#include "tests/bench/statistics.h"
#include "tests/worker/model/local_plans.h"
#include "worker/engine/engine.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_folder.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/load_model.h"

namespace thinkwire::bench {
namespace {

using worker::engine::Engine;
using worker::model::ModelConfig;
using worker::model::ModelOptions;
using worker::model::ModelRunner;

// The worker's defaults.
constexpr std::int32_t kCpuBatchedTokens = 512;
constexpr std::int32_t kCudaBatchedTokens = 4096;

// A folder that holds one config.json and is gone with the object.
class ConfigFolder {
 public:
  explicit ConfigFolder(const std::string& config) {
    std::string path = (std::filesystem::temp_directory_path() / "thinkwire-bench-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) return;  // LoadModel will miss the file
    path_ = path;
    std::ofstream(path_ / "config.json") << config;
  }
  ~ConfigFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  ConfigFolder(const ConfigFolder&) = delete;
  ConfigFolder& operator=(const ConfigFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct LoadedModel {
  ModelConfig config;
  std::unique_ptr<ModelRunner> runner;
};

// What the figures together need of the runner.
struct Extent {
  std::int32_t model_len = 0;  // tokens of the longest sequence
  std::int32_t sequences = 1;  // at once
  std::int64_t kv_tokens = 0;  // of all sequences of a figure
};

// The scheduler admits a sequence only if that leaves those that run some room to grow.
std::int32_t WithRoomToGrow(std::int32_t tokens) { return tokens + 32 + tokens / 50; }

Extent ExtentOf(const EngineBenchOptions& options) {
  Extent extent;
  const auto cover = [&extent](std::int32_t sequences, std::int32_t tokens) {
    extent.model_len = std::max(extent.model_len, WithRoomToGrow(tokens));
    extent.sequences = std::max(extent.sequences, sequences);
    extent.kv_tokens = std::max(extent.kv_tokens, std::int64_t{sequences} * WithRoomToGrow(tokens));
  };
  for (const std::int32_t batch : options.batch) cover(batch, options.prompt + options.output);
  for (const std::int32_t context : options.context) cover(1, context + options.output);
  for (const std::int32_t prefill : options.prefill) cover(1, prefill + 1);
  return extent;
}

worker::kernels::Encoding RandomEncoding(const std::string& quantization) {
  if (quantization == "awq") return worker::kernels::Encoding::kInt4;
  if (quantization == "fp8") return worker::kernels::Encoding::kFp8;
  if (quantization == "q4_k_m") return worker::kernels::Encoding::kQ4K;
  return quantization == "q8_0" ? worker::kernels::Encoding::kQ8_0
                                : worker::kernels::Encoding::kBf16;
}

absl::StatusOr<LoadedModel> Load(const EngineBenchOptions& options) {
  const std::string built_in = DistillConfig(options.model);
  if (built_in.empty() && !IsGgufPath(options.model)) {
    RETURN_IF_ERROR(worker::model::CheckModelFolder(options.model));
  }
  const ConfigFolder folder(built_in);
  const Extent extent = ExtentOf(options);
  ModelOptions model;
  model.model_dir = built_in.empty() ? std::filesystem::path(options.model) : folder.path();
  model.random_weights = !built_in.empty();
  model.random_encoding = RandomEncoding(options.quantization);
  model.num_layers = options.num_layers;
  model.seed = static_cast<std::uint64_t>(options.seed);
  model.device = worker::kernels::DeviceFor(options.device, options.tensor_parallel_size);
  model.activation_dtype = options.activation_dtype;
  model.kv_cache_dtype = options.kv_cache_dtype;
  model.gpu_memory_bytes = static_cast<std::int64_t>(options.gpu_memory_bytes);
  const bool on_gpu = model.device == "cuda";
  model.tensor_parallel_size = options.tensor_parallel_size;
  model.cpu_threads = options.cpu_threads;
  model.max_num_seqs = extent.sequences;
  model.max_in_flight = 2;
  model.stamp_steps = true;
  model.max_num_batched_tokens = options.max_num_batched_tokens;
  if (model.max_num_batched_tokens == 0) {
    model.max_num_batched_tokens = on_gpu ? kCudaBatchedTokens : kCpuBatchedTokens;
  }
  LoadedModel loaded;
  ASSIGN_OR_RETURN(loaded.config, worker::model::OpenModelFiles(model.model_dir)->Config());
  if (model.random_weights && options.num_layers > 0) {
    RETURN_IF_ERROR(worker::model::KeepFirstLayers(options.num_layers, loaded.config));
  }
  RETURN_IF_ERROR(worker::model::CheckSplit(worker::model::MakePlan(loaded.config),
                                            options.tensor_parallel_size));
  model.max_model_len = static_cast<std::int32_t>(
      std::min<std::int64_t>(extent.model_len, loaded.config.max_position_embeddings));
  // A GPU's memory is there to be taken whole; a host's is not. Float32 elements are the widest.
  if (!on_gpu) {
    model.kv_cache_memory_bytes =
        extent.kv_tokens * KvBytesPerToken(loaded.config, options.tensor_parallel_size, 4);
  }
  ASSIGN_OR_RETURN(loaded.runner,
                   worker::model::LoadModel(model, worker::model::LocalPlans(model)));
  return loaded;
}

Spread SpreadOf(const std::vector<double>& values) {
  if (values.empty()) return {};
  return {values.size(), Median(values), Quantile(values, 0.99)};
}

struct StepTimes {
  std::vector<double> steps;
  std::vector<double> turns;
  std::vector<double> gaps;
};

// Runs figures on one engine over one loaded model.
class Session {
 public:
  using OnNote = std::function<void(const std::string&)>;

  Session(const EngineBenchOptions& options, LoadedModel& model, const DeviceRoofs& roofs,
          const OnNote& on_note)
      : options_(options),
        roofs_(roofs),
        on_note_(on_note),
        runner_(*model.runner),
        costs_(model.config, runner_.info(), options.tensor_parallel_size),
        probe_(runner_),
        engine_({.max_queue = 1 << 16,
                 .end_of_sequence_ids = {},
                 .slow_reader_timeout = std::chrono::hours(24)},
                probe_, Clock::Real()) {}

  const ModelCosts& costs() const { return costs_; }

  // Whatever is slow only the first time.
  absl::Status WarmUp() {
    return RunBatch(engine_, runner_.limits(), {.prompt_tokens = 4, .output_tokens = 4}).status();
  }

  absl::StatusOr<Figure> Decode(std::int32_t sequences, std::int32_t prompt) {
    Figure figure{.kind = FigureKind::kDecode,
                  .sequences = sequences,
                  .prompt_tokens = prompt,
                  .output_tokens = options_.output};
    ASSIGN_OR_RETURN(const std::vector<BatchTimes> times, Repeat(figure));
    std::vector<double> rates;
    for (const BatchTimes& time : times) {
      rates.push_back(static_cast<double>(time.decoded_tokens) / time.decode_seconds);
    }
    SetRates(rates, figure);
    // The first token of the output stands at position `prompt`, and the last is no input.
    figure.work = costs_.DecodeStepBytes(sequences, prompt + options_.output / 2.0);
    const double steps_per_second = figure.tokens_per_second / sequences;
    figure.roof_share = steps_per_second * figure.work / roofs_.read_bytes_per_second;
    return figure;
  }

  // As many prompts as one step's budget of tokens and the KV cache hold, but one at least.
  absl::StatusOr<Figure> Prefill(std::int32_t prompt) {
    const worker::step::Limits& limits = runner_.limits();
    std::int32_t sequences =
        std::clamp(limits.max_num_batched_tokens / prompt, 1, limits.max_num_seqs);
    while (sequences > 1 && !CheckFits({sequences, prompt, 1}, limits).ok()) --sequences;
    Figure figure{.kind = FigureKind::kPrefill,
                  .sequences = sequences,
                  .prompt_tokens = prompt,
                  .output_tokens = 1};
    ASSIGN_OR_RETURN(const std::vector<BatchTimes> times, Repeat(figure));
    const double tokens = static_cast<double>(prompt) * sequences;
    std::vector<double> rates;
    for (const BatchTimes& time : times) rates.push_back(tokens / time.prefill_seconds);
    SetRates(rates, figure);
    figure.work = sequences * costs_.PrefillFlops(prompt);
    figure.roof_share =
        figure.tokens_per_second / tokens * figure.work / roofs_.matrix_flops_per_second;
    return figure;
  }

 private:
  // Fills in what every kind has.
  absl::StatusOr<std::vector<BatchTimes>> Repeat(Figure& figure) {
    BatchSpec spec{.sequences = figure.sequences,
                   .prompt_tokens = figure.prompt_tokens,
                   .output_tokens = figure.output_tokens};
    RETURN_IF_ERROR(CheckFits(spec, runner_.limits()));
    StepTimes step_times;
    std::vector<BatchTimes> times;
    std::vector<double> first_tokens;
    for (std::int32_t i = 0; i < options_.repetitions; ++i) {
      on_note_(absl::StrCat(figure.kind == FigureKind::kDecode ? "batch " : "prefill of ",
                            figure.sequences, " at ", figure.prompt_tokens, " tokens, ", i + 1,
                            " of ", options_.repetitions));
      // New prompts each time, so that nothing is found in a cache.
      spec.seed = (static_cast<std::uint64_t>(options_.seed) << 32) + ++num_batches_;
      SkipSteps();
      ASSIGN_OR_RETURN(const BatchTimes time, RunBatch(engine_, runner_.limits(), spec));
      TakeSteps(figure.sequences, step_times);
      times.push_back(time);
      first_tokens.push_back(time.prefill_seconds);
    }
    figure.generated_tokens = times.back().generated_tokens;
    figure.decoded_tokens = times.back().decoded_tokens;
    figure.first_token_seconds = Median(first_tokens);
    figure.step_seconds = SpreadOf(step_times.steps);
    figure.turn_seconds = SpreadOf(step_times.turns);
    figure.gap_seconds = SpreadOf(step_times.gaps);
    return times;
  }

  void SkipSteps() {
    probe_.TakeSteps();
    runner_.TakeStepGaps();
  }

  // Adds what the decode steps of the full batch took that follow one of their kind.
  void TakeSteps(std::int32_t sequences, StepTimes& times) {
    const std::vector<StepStamp> steps = probe_.TakeSteps();
    const std::vector<double> gaps = runner_.TakeStepGaps();
    CHECK(gaps.size() == steps.size(), "one gap a step");
    const auto is_full = [&](std::size_t i) {
      return steps[i].decode_only && steps[i].num_rows == sequences;
    };
    for (std::size_t i = 1; i < steps.size(); ++i) {
      if (!is_full(i - 1) || !is_full(i)) continue;
      if (steps[i].step_seconds) times.steps.push_back(*steps[i].step_seconds);
      if (steps[i].turn_seconds) times.turns.push_back(*steps[i].turn_seconds);
      times.gaps.push_back(gaps[i]);
    }
  }

  static void SetRates(const std::vector<double>& rates, Figure& figure) {
    figure.tokens_per_second = Median(rates);
    figure.lowest = *std::min_element(rates.begin(), rates.end());
    figure.highest = *std::max_element(rates.begin(), rates.end());
  }

  const EngineBenchOptions& options_;
  const DeviceRoofs& roofs_;
  const OnNote& on_note_;
  ModelRunner& runner_;
  const ModelCosts costs_;
  std::uint64_t num_batches_ = 0;
  RunnerProbe probe_;
  Engine engine_;  // last, so that its thread ends first
};

}  // namespace

absl::StatusOr<EngineReport> RunEngineBench(
    const EngineBenchOptions& options, const std::function<void(const EngineReport&)>& on_progress,
    const std::function<void(const std::string&)>& on_note) {
  EngineReport report;
  report.model = options.model;
  std::string error;
  on_note("measuring what the hardware gives");
  const std::optional<DeviceRoofs> roofs =
      MeasureDeviceRoofs(options.device, options.tensor_parallel_size, options.cpu_threads, &error);
  if (!roofs) return absl::InvalidArgumentError(error);
  report.roofs = *roofs;
  on_note(absl::StrCat("loading ", options.model));
  std::optional<MemoryWatch> watch;
  if (options.gpu_memory_bytes > 0) watch.emplace();
  const Clock::TimePoint start = Clock::Real().Now();
  ASSIGN_OR_RETURN(LoadedModel model, Load(options));
  report.load_seconds = ToSeconds(Clock::Real().Now() - start);
  report.info = model.runner->info();
  report.limits = model.runner->limits();
  Session session(options, model, report.roofs, on_note);
  report.kv_bytes_per_token = session.costs().kv_bytes_per_token();
  on_progress(report);
  on_note("warming up");
  RETURN_IF_ERROR(session.WarmUp());
  const auto add = [&](absl::StatusOr<Figure> figure) {
    if (!figure.ok()) return figure.status();
    report.figures.push_back(*std::move(figure));
    on_progress(report);
    return absl::OkStatus();
  };
  for (const std::int32_t batch : options.batch) {
    RETURN_IF_ERROR(add(session.Decode(batch, options.prompt)));
  }
  for (const std::int32_t context : options.context) {
    RETURN_IF_ERROR(add(session.Decode(1, context)));
  }
  for (const std::int32_t prefill : options.prefill) RETURN_IF_ERROR(add(session.Prefill(prefill)));
  if (watch) report.peak_gpu_bytes = watch->peak();
  return report;
}

}  // namespace thinkwire::bench
