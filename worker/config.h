#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/peer_limits.h"
#include "common/tls_files.h"

namespace thinkwire::worker {

// All that a worker can be told, one field an option of the same name; config.cc holds the table
// with each option's unit, range and default.
struct WorkerConfig {
  std::string config;  // YAML file with others of these; empty: none

  // The model.
  std::string model;              // folder of the checkpoint, its GGUF file, or a model's name
  std::string served_model_name;  // empty: the folder's or file's
  std::string device = "auto";
  std::string dtype = "auto";
  std::string quantization = "auto";
  std::string generation_config = "auto";
  std::string chat_template = "auto";
  bool strict_checkpoint = false;
  bool random_weights = false;
  std::int64_t seed = 0;
  std::int32_t num_layers = 0;

  // How much at once.
  std::int32_t tensor_parallel_size = 1;
  std::string ranks;             // those of this process; empty: all
  std::string leader;            // host:port, where the group's processes meet
  std::string group_token_file;  // what they know each other by
  std::int32_t max_model_len = 0;
  std::int32_t max_num_seqs = 0;
  std::int32_t max_num_batched_tokens = 0;
  std::int32_t max_queue = kMaxQueue;
  std::int32_t block_size = 16;
  std::int64_t kv_cache_memory_bytes = 0;
  std::string activation_dtype = "bfloat16";
  std::string kv_cache_dtype = "auto";
  std::string kv_scales_file;
  double gpu_memory_utilization = 0.90;
  double gpu_memory_bytes = 0;
  bool enable_prefix_caching = true;
  std::int32_t max_thinking_tokens = 0;
  std::int32_t default_thinking_tokens = 0;
  std::string closing_text = "auto";
  std::int32_t loop_max_repeats = 0;
  std::int32_t loop_max_period_tokens = 512;
  double loop_near_share = 0;
  std::int32_t cpu_threads = 0;
  std::int32_t text_threads = 2;

  // The service.
  std::string listen = "127.0.0.1:50061";
  bool insecure_listen = false;
  TlsFiles tls;
  std::string metrics_listen = "127.0.0.1:9402";
  std::int32_t max_connections = kMaxConnections;
  std::int32_t max_metadata_bytes = kMaxMetadataBytes;
  std::string trusted_peers;
  bool trusted_peers_only = false;
  std::int32_t drain_timeout_s = 30;
  std::int32_t step_timeout_s = 10;
  std::string log_level = "info";

  // Instead of serving.
  bool tokenize = false;
  bool as_user_text = false;
  bool check_config = false;
  bool list = false;
  bool help = false;
  bool version = false;
};

// Reads the command line (common/options.h says in which spellings), the environment below it, and
// the file of --config below both. Does not Validate.
// Fails: INVALID_ARGUMENT, one sentence that names the option, and the file if it is in there, for
// an unknown or repeated one, a missing value, one that is not of its type or range, and for what
// is no option; NOT_FOUND there is no such file.
absl::StatusOr<WorkerConfig> ParseArguments(std::span<const char* const> arguments);

// What no single option shows, or its type and range do not: --model is given, options that
// contradict each other, addresses and names that are malformed. Touches no file and no device.
absl::Status Validate(const WorkerConfig& config);

// The variant's name: as it is given, or the model's folder or file. Fails: INVALID_ARGUMENT for
// one of which the name is no variant's (common/variant_name.h).
absl::StatusOr<std::string> ServedModelName(const WorkerConfig& config);

// The help page: every option with its meaning, unit, range and default.
std::string Usage();

// Writes every option that is set to the log, in one record.
void LogSettings(const WorkerConfig& config);

}  // namespace thinkwire::worker
