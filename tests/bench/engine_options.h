#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::bench {

// All that `thinkwire-bench engine` can be told; engine_options.cc says what each means.
struct EngineBenchOptions {
  std::string model = "qwen-1.5b";
  std::string device = "auto";
  std::string quantization = "none";  // of a distill's random weights
  std::int32_t num_layers = 0;        // likewise; 0: all
  std::string activation_dtype = "bfloat16";
  std::string kv_cache_dtype = "auto";
  std::int32_t tensor_parallel_size = 1;
  std::int32_t cpu_threads = 0;
  std::int32_t max_num_batched_tokens = 0;
  double gpu_memory_bytes = 0;
  std::int32_t seed = 0;

  std::vector<std::int32_t> batch = {1, 16, 64};
  std::int32_t prompt = 512;
  std::int32_t output = 128;
  std::vector<std::int32_t> context = {8192};
  std::vector<std::int32_t> prefill = {4096};
  std::int32_t repetitions = 3;

  std::string compare;  // another build of this program
  std::int32_t pairs = 3;

  std::string json;
  bool help = false;
};

// Fails: INVALID_ARGUMENT, one sentence that names the option and what is allowed.
absl::StatusOr<EngineBenchOptions> ParseEngineOptions(std::span<const char* const> arguments);

// The command line that gives these options: those that are not the default, so that a build that
// does not know one yet can still be told the others.
std::vector<std::string> ArgumentsOf(EngineBenchOptions options);

std::string EngineUsage();

}  // namespace thinkwire::bench
