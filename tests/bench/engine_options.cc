#include "tests/bench/engine_options.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/options.h"
#include "common/status.h"
#include "tests/bench/distill_shapes.h"
#include "tests/bench/environment.h"

namespace thinkwire::bench {
namespace {

constexpr std::int32_t kMaxBatch = 4096;
constexpr std::int32_t kMaxTokens = 1 << 20;

// The lists as they stand on the command line.
struct Lists {
  std::string batch;
  std::string context;
  std::string prefill;
};

Lists Join(const EngineBenchOptions& options) {
  return {absl::StrJoin(options.batch, ","), absl::StrJoin(options.context, ","),
          absl::StrJoin(options.prefill, ",")};
}

std::vector<Option> Table(EngineBenchOptions& options, Lists& lists) {
  return {
      {"model", &options.model,
       "a distill's name for its shapes with random weights, or a checkpoint's folder or GGUF"},
      {"device", &options.device, "auto, cpu or cuda"},
      {"quantization", &options.quantization,
       "of random weights: none; awq: 4 bits in groups of 128 columns, the head in bf16; fp8: in "
       "blocks of 128 columns, likewise; q4_k_m or q8_0: as llama.cpp's files of these types"},
      {"num_layers", &options.num_layers,
       "of random weights: the first so many layers alone, 0 to 1000; 0: all"},
      {"activation_dtype", &options.activation_dtype,
       "of what weights in FP8 are multiplied with, as the worker's option: bfloat16 or fp8_e4m3"},
      {"kv_cache_dtype", &options.kv_cache_dtype,
       "of keys and values, as the worker's option: auto, bfloat16 or fp8_e4m3"},
      {"tensor_parallel_size", &options.tensor_parallel_size,
       "ranks that share the model, 1 to 64"},
      {"cpu_threads", &options.cpu_threads, "compute threads over all ranks; 0: one a core"},
      {"max_num_batched_tokens", &options.max_num_batched_tokens,
       "input tokens of one step; 0: 512 on CPU, 4096 on CUDA"},
      {"gpu_memory_bytes", &options.gpu_memory_bytes,
       "as the worker's option, and the most that is then in use is printed; 0: nine tenths of "
       "what is free",
       Between(0, 1e15)},
      {"seed", &options.seed, "of prompts, sampling and random weights, 0 or more"},
      {"batch", &lists.batch, "sequences that decode at once, a list; empty: no such figure"},
      {"prompt", &options.prompt, "tokens of each of their prompts"},
      {"output", &options.output, "tokens that each sequence draws, 2 or more"},
      {"context", &lists.context,
       "prompt lengths of one sequence of which only decoding counts, a list; empty: none"},
      {"prefill", &lists.prefill,
       "prompt lengths whose time to the first token counts, a list; empty: none"},
      {"repetitions", &options.repetitions, "of each figure; the median counts, 1 or more"},
      {"compare", &options.compare,
       "another build of this program: runs both in turn, with the other options, and prints "
       "ratios "
       "by pairs; empty: this build alone"},
      {"pairs", &options.pairs, "runs of each build under --compare, 1 to 100"},
      {"json", &options.json, "file for all figures; empty: none"},
      {"help", &options.help, "print this"},
  };
}

absl::Status CheckRange(absl::string_view name, std::int32_t value, std::int32_t low,
                        std::int32_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", name, " is ", value, "; allowed: ", low, " to ", high));
}

absl::Status ReadList(absl::string_view name, const std::string& text, std::int32_t high,
                      std::vector<std::int32_t>& values) {
  values.clear();
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    std::int32_t value = 0;
    if (!absl::SimpleAtoi(part, &value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, ": '", part, "' is not a whole number"));
    }
    RETURN_IF_ERROR(CheckRange(name, value, 1, high));
    values.push_back(value);
  }
  return absl::OkStatus();
}

absl::Status CheckQuantization(const EngineBenchOptions& options) {
  if (options.quantization == "none") return absl::OkStatus();
  constexpr std::string_view kAllowed[] = {"awq", "fp8", "q4_k_m", "q8_0"};
  if (std::ranges::find(kAllowed, options.quantization) == std::end(kAllowed)) {
    return absl::InvalidArgumentError(absl::StrCat("--quantization is '", options.quantization,
                                                   "'; allowed: none, awq, fp8, q4_k_m, q8_0"));
  }
  if (DistillConfig(options.model).empty()) {
    return absl::InvalidArgumentError(
        "--quantization is for a distill's random weights; a folder says itself what it holds");
  }
  return absl::OkStatus();
}

absl::Status CheckKvCacheDtype(const std::string& dtype) {
  if (dtype == "auto" || dtype == "bfloat16" || dtype == "fp8_e4m3") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--kv_cache_dtype is '", dtype, "'; allowed: auto, bfloat16, fp8_e4m3"));
}

absl::Status CheckActivationDtype(const std::string& dtype) {
  if (dtype == "bfloat16" || dtype == "fp8_e4m3") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--activation_dtype is '", dtype, "'; allowed: bfloat16, fp8_e4m3"));
}

absl::Status CheckRanges(const EngineBenchOptions& options) {
  RETURN_IF_ERROR(CheckActivationDtype(options.activation_dtype));
  RETURN_IF_ERROR(CheckKvCacheDtype(options.kv_cache_dtype));
  RETURN_IF_ERROR(CheckRange("tensor_parallel_size", options.tensor_parallel_size, 1, 64));
  RETURN_IF_ERROR(CheckRange("num_layers", options.num_layers, 0, 1000));
  RETURN_IF_ERROR(CheckRange("cpu_threads", options.cpu_threads, 0, 1024));
  RETURN_IF_ERROR(
      CheckRange("max_num_batched_tokens", options.max_num_batched_tokens, 0, kMaxTokens));
  RETURN_IF_ERROR(CheckRange("seed", options.seed, 0, INT32_MAX));
  RETURN_IF_ERROR(CheckRange("prompt", options.prompt, 1, kMaxTokens));
  RETURN_IF_ERROR(CheckRange("output", options.output, 2, kMaxTokens));
  RETURN_IF_ERROR(CheckRange("pairs", options.pairs, 1, 100));
  if (!options.compare.empty() && !options.json.empty()) {
    return absl::InvalidArgumentError("--json is for the figures of one build, not for --compare");
  }
  return CheckRange("repetitions", options.repetitions, 1, 1000);
}

// REQUIRES: a text, a number of 32 bits or a double, as all but --help are.
std::string ValueOf(const Option& option) {
  if (const auto* const bytes = std::get_if<double*>(&option.target)) return absl::StrCat(**bytes);
  if (const auto* const text = std::get_if<std::string*>(&option.target)) return **text;
  return absl::StrCat(**std::get_if<std::int32_t*>(&option.target));
}

}  // namespace

absl::StatusOr<EngineBenchOptions> ParseEngineOptions(std::span<const char* const> arguments) {
  EngineBenchOptions options;
  Lists lists = Join(options);
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   ParseOptions(arguments, Table(options, lists), kEnvironment));
  if (!rest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", rest.front(), "' is no option"));
  }
  RETURN_IF_ERROR(ReadList("batch", lists.batch, kMaxBatch, options.batch));
  RETURN_IF_ERROR(ReadList("context", lists.context, kMaxTokens, options.context));
  RETURN_IF_ERROR(ReadList("prefill", lists.prefill, kMaxTokens, options.prefill));
  RETURN_IF_ERROR(CheckRanges(options));
  RETURN_IF_ERROR(CheckQuantization(options));
  return options;
}

std::vector<std::string> ArgumentsOf(EngineBenchOptions options) {
  EngineBenchOptions defaults;
  Lists lists = Join(options);
  Lists default_lists = Join(defaults);
  const std::vector<Option> given = Table(options, lists);
  const std::vector<Option> usual = Table(defaults, default_lists);
  std::vector<std::string> arguments;
  for (std::size_t i = 0; i + 1 < given.size(); ++i) {  // --help is the last
    const std::string value = ValueOf(given[i]);
    if (value == ValueOf(usual[i])) continue;
    arguments.push_back(absl::StrCat("--", given[i].name, "=", value));
  }
  return arguments;
}

std::string EngineUsage() {
  EngineBenchOptions options;
  Lists lists = Join(options);
  return absl::StrCat(
      "thinkwire-bench engine: how fast the engine decodes and reads prompts, without RPC\n\n",
      DescribeOptions(Table(options, lists)), "\nDistills: ", absl::StrJoin(DistillNames(), ", "),
      "\n");
}

}  // namespace thinkwire::bench
