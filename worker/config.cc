#include "worker/config.h"

#include <filesystem>
#include <iterator>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/gguf_file.h"
#include "common/input_limits.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/options.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/steering_limits.h"
#include "common/variant_name.h"
#include "worker/config_file.h"
#include "worker/rank_span.h"

namespace thinkwire::worker {
namespace {

constexpr char kEnvironment[] = "THINKWIRE_WORKER_";
constexpr double kMaxBytes = 9007199254740992.0;  // 2^53: exact as a double

// Every option: one table, so that it is longer than a function should be.
std::vector<Option> Options(WorkerConfig& c) {
  return {
      {"config", &c.config,
       "YAML file of options, names as here; the environment and the command line win over it"},
      {"model", &c.model,
       "folder with config.json, tokenizer.json and the weights, a GGUF file (of several the "
       "first), "
       "or a model's name, NAME[@REVISION], which the hub's cache has or gets"},
      {"served_model_name", &c.served_model_name,
       "the variant's name; empty: the folder's, the file's without .gguf, or the model's"},
      {"device", &c.device, "where the model runs", OneOf("auto|cpu|cuda")},
      {"dtype", &c.dtype, "of weights and KV cache; auto is bfloat16", OneOf("auto|bfloat16")},
      {"quantization", &c.quantization,
       "of the weights: auto is what the files have; none, gguf (its packed types) and a "
       "quant_method of config.json refuse another; fp8 is made of weights that are not packed; "
       "awq, q4_k_m and q8_0 draw random ones so",
       OneOf("auto|none|gguf|awq|gptq|compressed-tensors|fp8|bitsandbytes|q4_k_m|q8_0")},
      {"generation_config", &c.generation_config,
       "where requests leave the sampling open: as generation_config.json says, or (none) as the "
       "contract does",
       OneOf("auto|none")},
      {"chat_template", &c.chat_template,
       "auto: refuse a checkpoint whose chat template is not one that this program renders; "
       "builtin: render chats as the vocabulary's family does, whatever the checkpoint's says",
       OneOf("auto|builtin")},
      {"strict_checkpoint", &c.strict_checkpoint,
       "refuse what there would be a warning of: files of the checkpoint that contradict each "
       "other, tensors without a use"},
      {"random_weights", &c.random_weights, "seeded noise in config.json's shapes for weights"},
      {"seed", &c.seed, "of the random weights", Between(0, kMaxBytes)},
      {"num_layers", &c.num_layers, "of random weights: the first so many layers alone; 0: all",
       Between(0, static_cast<std::int32_t>(kMaxLayers))},
      {"tensor_parallel_size", &c.tensor_parallel_size, "ranks that share the model",
       Between(1, kMaxRanks)},
      {"ranks", &c.ranks,
       "A-B or A: those of them that this process has, where other processes have the others; "
       "whoever has rank 0 leads and serves; empty: all"},
      {"leader", &c.leader,
       "with --ranks: host:port where the leader listens for the others, and they find it; nothing "
       "there is encrypted"},
      {"group_token_file", &c.group_token_file,
       "with --ranks: file of the secret, 16 bytes or more, by which the processes of a group know "
       "each other"},
      {"max_model_len", &c.max_model_len, "tokens of prompt and output; 0: the model's limit",
       Between(0, kMaxModelLen)},
      {"max_num_seqs", &c.max_num_seqs, "sequences that run at once; 0: 16 on CPU, 128 on CUDA",
       Between(0, kMaxNumSeqs)},
      {"max_num_batched_tokens", &c.max_num_batched_tokens,
       "input tokens of one step; 0: 512 on CPU, 4096 on CUDA", Between(0, kMaxBatchedTokens)},
      {"max_queue", &c.max_queue, "requests that may wait; one more is refused",
       Between(1, kMaxQueueLength)},
      {"block_size", &c.block_size, "tokens of one KV block, a multiple of 16",
       Between(kMinBlockTokens, kMaxBlockTokens)},
      {"kv_cache_memory_bytes", &c.kv_cache_memory_bytes,
       "KV cache over all ranks; 0: chosen from free memory", Between(0, kMaxBytes)},
      {"activation_dtype", &c.activation_dtype,
       "of what weights in FP8 are multiplied with: bfloat16 is as it is computed (float32 on a "
       "CPU); fp8_e4m3 rounds each token's to FP8 by a scale of its own, but on a GPU that "
       "multiplies no such numbers",
       OneOf("bfloat16|fp8_e4m3")},
      {"kv_cache_dtype", &c.kv_cache_dtype,
       "of keys and values: auto is what the checkpoint was measured with, else bfloat16; bfloat16 "
       "is as activations are (float32 on a CPU); fp8_e4m3 takes half of that",
       OneOf("auto|bfloat16|fp8_e4m3")},
      {"kv_scales_file", &c.kv_scales_file,
       "JSON {\"k_scale\": [...], \"v_scale\": [...]} of an FP8 KV cache, a number a layer each; "
       "empty: the checkpoint's, or 1"},
      {"gpu_memory_utilization", &c.gpu_memory_utilization,
       "share of a GPU's memory that may be taken", Between(0.05, 1)},
      {"gpu_memory_bytes", &c.gpu_memory_bytes,
       "instead of that share: bytes of a GPU's memory that may be in use, CUDA's own and other "
       "processes' included, such as 24e9; 0: the share",
       Between(0, kMaxBytes)},
      {"enable_prefix_caching", &c.enable_prefix_caching,
       "keep KV blocks for requests that begin like earlier ones"},
      {"max_thinking_tokens", &c.max_thinking_tokens,
       "reasoning tokens of an output, beyond which no request may ask; 0: no ceiling",
       Between(0, kMaxModelLen)},
      {"default_thinking_tokens", &c.default_thinking_tokens,
       "the same where a request does not say; 0: no limit", Between(0, kMaxModelLen)},
      {"closing_text", &c.closing_text,
       "what ends reasoning that a limit closes, where a request does not say; auto: \"Time to "
       "answer.\" as a paragraph; empty: nothing"},
      {"loop_max_repeats", &c.loop_max_repeats,
       "times in a row that a passage may come where a request does not say; 0: no limit",
       Between(0, kMaxLoopRepeats)},
      {"loop_max_period_tokens", &c.loop_max_period_tokens,
       "longest passage that --loop_max_repeats looks for, in tokens",
       Between(1, kMaxLoopPeriodTokens)},
      {"loop_near_share", &c.loop_near_share,
       "with --loop_max_repeats: the share of what was said before that ends a phase too; 0: none",
       Between(0, 1)},
      {"cpu_threads", &c.cpu_threads, "compute threads over all ranks; 0: one a core",
       Between(0, kMaxCpuThreads)},
      {"text_threads", &c.text_threads,
       "threads that tokenise and detokenise; one of them is kept for running streams and short "
       "prompts",
       Between(2, kMaxTextThreads)},
      {"listen", &c.listen, "host:port of the gRPC service; port 0: any free one"},
      {"insecure_listen", &c.insecure_listen,
       "let --listen be an address that other machines reach, without TLS"},
      {"tls_cert", &c.tls.certificate,
       "PEM file of the certificate that routers see, and those that vouch for it; empty: no TLS"},
      {"tls_key", &c.tls.key, "PEM file of its private key"},
      {"tls_client_ca", &c.tls.ca,
       "PEM file of CAs: routers need a certificate of one of them; empty: they need none"},
      {"metrics_listen", &c.metrics_listen, "host:port of /metrics; empty: none"},
      {"max_connections", &c.max_connections,
       "open connections of the gRPC port; for one more an idle one is ended, or it is reset",
       Between(1, 100'000)},
      {"max_metadata_bytes", &c.max_metadata_bytes,
       "bytes of a call's metadata, 32 an entry among them; a call with more is refused",
       Between(1024, 1 << 20)},
      {"trusted_peers", &c.trusted_peers,
       "addresses and prefixes, with commas, of gateways and routers: no share limits them, and "
       "they "
       "say whose a request is; empty: who is on this machine says so, if --listen is on loopback"},
      {"trusted_peers_only", &c.trusted_peers_only,
       "refuse the calls of everybody else, but those for health"},
      {"drain_timeout_s", &c.drain_timeout_s,
       "seconds that running requests get to finish after SIGTERM", Between(0, 86400)},
      {"step_timeout_s", &c.step_timeout_s,
       "seconds within which a worker that makes no progress, not even by a layer, has ended",
       Between(2, 86400)},
      {"log_level", &c.log_level, "what is logged: records of this level and above",
       OneOf(kLogLevels)},
      {"tokenize", &c.tokenize,
       "read lines {\"text\": …}, print lines {\"ids\": […]}, serve nothing"},
      {"as_user_text", &c.as_user_text, "with --tokenize: as the text of a message"},
      {"list", &c.list, "show what models the hub's cache has, and serve nothing"},
      {"check_config", &c.check_config, "check options, checkpoint and tokenizer, serve nothing"},
      {"help", &c.help, "print this page"},
      {"version", &c.version, "print version and commit"},
  };
}

absl::Status NotAName(const std::string& name) {
  return absl::InvalidArgumentError(absl::StrCat("served_model_name '", ShownText(name),
                                                 "' is not ", kVariantNameRule,
                                                 ", by which a router knows it"));
}

absl::Status CheckTrustedPeersOnly(const WorkerConfig& config) {
  if (!config.trusted_peers_only || !config.trusted_peers.empty() || IsLoopback(config.listen)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "--trusted_peers_only needs --trusted_peers: nobody else may call");
}

absl::Status CheckLoops(const WorkerConfig& config) {
  if (config.loop_max_repeats == 1) {
    return absl::InvalidArgumentError("--loop_max_repeats must be 0 or at least 2");
  }
  if (config.loop_near_share == 0 || config.loop_max_repeats > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("--loop_near_share is only for --loop_max_repeats");
}

// Takes the options of --config's file, if there is one, so that the others come on top of them.
absl::Status ReadFileOf(std::span<const char* const> arguments, WorkerConfig& config) {
  WorkerConfig named;
  RETURN_IF_ERROR(ParseOptions(arguments, Options(named), kEnvironment).status());
  if (named.config.empty() || named.help || named.version) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadConfigFile(named.config));
  for (const std::string& line : lines) {
    const char* argument = line.c_str();
    const auto rest = ParseOptions({&argument, 1}, Options(config));
    if (!rest.ok()) return Annotate(rest.status(), named.config);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WorkerConfig> ParseArguments(std::span<const char* const> arguments) {
  WorkerConfig config;
  RETURN_IF_ERROR(ReadFileOf(arguments, config));
  ASSIGN_OR_RETURN(const auto rest, ParseOptions(arguments, Options(config), kEnvironment));
  if (!rest.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", rest[0], "' is not an option"));
  }
  return config;
}

absl::Status Validate(const WorkerConfig& config) {
  if (config.list) return absl::OkStatus();
  if (config.model.empty()) {
    return absl::InvalidArgumentError(
        "--model is missing: the checkpoint's folder, GGUF file or name");
  }
  if (config.as_user_text && !config.tokenize) {
    return absl::InvalidArgumentError("--as_user_text is only for --tokenize");
  }
  if (config.tokenize && config.check_config) {
    return absl::InvalidArgumentError("--tokenize and --check_config exclude each other");
  }
  if (!config.served_model_name.empty() && !IsVariantName(config.served_model_name)) {
    return NotAName(config.served_model_name);
  }
  if (config.closing_text.size() > kMaxForcedTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat("--closing_text has ",
                                                   config.closing_text.size(), " bytes, at most ",
                                                   kMaxForcedTextBytes, " may be"));
  }
  RETURN_IF_ERROR(CheckLoops(config));
  RETURN_IF_ERROR(CheckGroup(config));
  const bool tls = !config.tls.certificate.empty();
  RETURN_IF_ERROR(CheckListen(config.listen, config.insecure_listen || tls));
  RETURN_IF_ERROR(CheckServerTlsFiles(config.tls, "--tls"));
  RETURN_IF_ERROR(CheckTrustedPeersOnly(config));
  if (config.metrics_listen.empty()) return absl::OkStatus();
  return CheckListenAddress("metrics_listen", config.metrics_listen);
}

absl::StatusOr<std::string> ServedModelName(const WorkerConfig& config) {
  if (!config.served_model_name.empty()) return config.served_model_name;
  const std::filesystem::path path = std::filesystem::path(config.model).lexically_normal();
  if (IsGgufPath(path)) {
    std::string stem = GgufStem(path);
    if (!IsVariantName(stem)) return NotAName(stem);
    return stem;
  }
  // "models/tiny/" has an empty last part.
  std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  if (!IsVariantName(name)) return NotAName(name);
  return name;
}

std::string Usage() {
  WorkerConfig defaults;
  return absl::StrCat(
      "thinkwire-worker: serves one reasoning model over gRPC.\n\n"
      "  thinkwire-worker --model DIR|FILE.gguf|NAME [--option=value …]\n"
      "  thinkwire-worker --config FILE.yaml\n"
      "  thinkwire-worker --list                  shows the models that are here\n"
      "  thinkwire-worker pull NAME[@REVISION]    downloads a model (see pull --help)\n\n",
      DescribeOptions(Options(defaults)), "\n", DescribeEnvironment(kEnvironment));
}

void LogSettings(const WorkerConfig& config) {
  WorkerConfig copy = config;  // the table wants something to write to
  LogOptions(Options(copy));
}

}  // namespace thinkwire::worker
