#include "worker/process.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/peer_limits.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/listener.h"
#include "common/rpc/metrics_server.h"
#include "common/rpc/shares.h"
#include "common/rpc/tls_certificates.h"
#include "common/rpc/trusted_peers.h"
#include "common/status.h"
#include "common/stop_signal.h"
#include "common/version.h"
#include "worker/config.h"
#include "worker/download_door.h"
#include "worker/engine/engine.h"
#include "worker/engine/stall_watch.h"
#include "worker/follow.h"
#include "worker/list_command.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/load_model.h"
#include "worker/model/memory_text.h"
#include "worker/model_options.h"
#include "worker/model_source.h"
#include "worker/parallel/local_step_channel.h"
#include "worker/pull_command.h"
#include "worker/quantize_command.h"
#include "worker/rank_span.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/service.h"
#include "worker/serve/status_board.h"
#include "worker/serve/text_pool.h"
#include "worker/serve/worker_metrics.h"
#include "worker/text/chat_template.h"
#include "worker/text/known_templates.h"
#include "worker/text/tokenize_command.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker";

// What the router may add to the largest request that it takes: an id, a seed, an attempt, a
// fingerprint.
constexpr int kAddedBytes = 4 << 10;

// Calls that are told of the end get this long to take their status.
constexpr auto kGoodbye = std::chrono::seconds(1);

// From a stall's being noticed to the process's end, with the driver's clearing up.
constexpr auto kStallEnding = std::chrono::seconds(1);

struct LoadedModel {
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::optional<text::ChatTemplate> chat_template;
  std::unique_ptr<model::ModelRunner> runner;
  serve::ServedModel served;
};

// What ends an output: the checkpoint's word, and the tokenizer's.
std::vector<std::int32_t> EndOfSequenceIds(const model::ModelInfo& info,
                                           const text::Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids = info.end_of_sequence_ids;
  const std::optional<std::int32_t> eos = tokenizer.eos_id();
  if (eos && std::ranges::find(ids, *eos) == ids.end()) ids.push_back(*eos);
  return ids;
}

// What the files of the checkpoint say that is not obeyed, or will not be served.
std::vector<std::string> Warnings(const LoadedModel& model) {
  std::vector<std::string> warnings = model.tokenizer->warnings();
  const std::vector<std::string>& others = model.runner->info().warnings;
  warnings.insert(warnings.end(), others.begin(), others.end());
  if (model.tokenizer->num_missing_bytes() > 0) {
    warnings.push_back(absl::StrCat("the vocabulary lacks ", model.tokenizer->num_missing_bytes(),
                                    " bytes: characters with them vanish from prompts"));
  }
  if (model.tokenizer->num_ids() > model.served.limits.vocab_size) {
    warnings.push_back(absl::StrCat("the tokenizer has ids up to ", model.tokenizer->num_ids() - 1,
                                    ", the model ", model.served.limits.vocab_size,
                                    " rows: prompts with the others are refused"));
  }
  return warnings;
}

absl::Status TellWarnings(const WorkerConfig& config, const LoadedModel& model) {
  for (const std::string& warning : Warnings(model)) {
    if (config.strict_checkpoint) {
      return absl::InvalidArgumentError(absl::StrCat(warning, " (--strict_checkpoint)"));
    }
    LogWarning(warning);
  }
  return absl::OkStatus();
}

// A prompt that the model could read, and the KV cache not, is refused.
void WarnOfContext(const step::Limits& limits) {
  if (limits.context() == limits.max_model_len) return;
  LogWarning(absl::StrCat("the whole KV cache holds ", limits.context(),
                          " tokens of a sequence, not the ", limits.max_model_len,
                          " that it may have: that is what is told and served; "
                          "--kv_cache_memory_bytes gives more, --max_model_len says less"));
}

void ApplyDefaults(const model::SamplingDefaults& defaults, step::PhaseSampling& sampling) {
  sampling.temperature = defaults.temperature.value_or(sampling.temperature);
  sampling.top_p = defaults.top_p.value_or(sampling.top_p);
  sampling.top_k = defaults.top_k.value_or(sampling.top_k);
  sampling.min_p = defaults.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = defaults.repetition_penalty.value_or(sampling.repetition_penalty);
}

std::optional<engine::LoopLimits> LoopsOf(const WorkerConfig& config) {
  if (config.loop_max_repeats == 0) return std::nullopt;
  engine::LoopLimits limits{.max_repeats = config.loop_max_repeats,
                            .max_period_tokens = config.loop_max_period_tokens};
  if (config.loop_near_share > 0) limits.near_share = static_cast<float>(config.loop_near_share);
  return limits;
}

// What the checkpoint says of texts, and of how they are drawn.
absl::Status LoadTexts(const WorkerConfig& config, const model::ModelFiles& files,
                       LoadedModel& out) {
  const std::filesystem::path path = files.TokenizerPath();
  ASSIGN_OR_RETURN(out.tokenizer, text::Tokenizer::Load(path));
  const bool any = config.chat_template == "builtin";
  ASSIGN_OR_RETURN(const text::TemplateChoice choice,
                   text::ChooseTemplate(path, *out.tokenizer, any));
  for (const std::string& warning : choice.warnings) LogWarning(warning);
  ASSIGN_OR_RETURN(out.chat_template, text::ChatTemplate::Create(*out.tokenizer, choice.kind));
  if (config.generation_config == "none") return absl::OkStatus();
  ASSIGN_OR_RETURN(const model::SamplingDefaults defaults, files.DefaultSampling());
  ApplyDefaults(defaults, out.served.sampling_defaults);
  return absl::OkStatus();
}

absl::StatusOr<LoadedModel> Load(const WorkerConfig& config, const ModelLoader& load_model) {
  LoadedModel out;
  ASSIGN_OR_RETURN(out.served.name, ServedModelName(config));
  const std::unique_ptr<model::ModelFiles> files = model::OpenModelFiles(config.model);
  // First, as a folder that is no checkpoint is known by it.
  RETURN_IF_ERROR(files->Config().status());
  RETURN_IF_ERROR(LoadTexts(config, *files, out));
  ASSIGN_OR_RETURN(const model::ModelOptions options,
                   MakeModelOptions(config, out.tokenizer->num_ids()));
  // To the ranks that are threads of this process.
  auto plans = std::make_unique<parallel::LocalStepChannel<step::Plan>>(
      options.group ? options.group->num_ranks : options.tensor_parallel_size,
      options.max_in_flight);
  ASSIGN_OR_RETURN(out.runner, load_model(options, std::move(plans)));
  const step::Limits& limits = out.runner->limits();
  if (out.tokenizer->num_needed_ids() > limits.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(config.model, ": the tokenizer needs ",
                                                   out.tokenizer->num_needed_ids(),
                                                   " ids, the model has ", limits.vocab_size));
  }
  out.served.fingerprint = out.runner->info().fingerprint;
  out.served.limits = limits;
  out.served.end_of_sequence_ids = EndOfSequenceIds(out.runner->info(), *out.tokenizer);
  // As many as there are keep all.
  out.served.sampling_defaults.top_k =
      std::min(out.served.sampling_defaults.top_k, limits.vocab_size);
  out.served.max_queue = config.max_queue;
  out.served.thinking.max_tokens = config.max_thinking_tokens;
  out.served.thinking.default_tokens = config.default_thinking_tokens;
  if (config.closing_text != "auto") out.served.thinking.closing_text = config.closing_text;
  out.served.thinking.loops = LoopsOf(config);
  RETURN_IF_ERROR(TellWarnings(config, out));
  WarnOfContext(limits);
  return out;
}

void LogListening(const LoadedModel& model, int port, int metrics_port) {
  const model::ModelInfo& info = model.runner->info();
  LogInfo(model::MemoryText(info, model.served.limits));
  LogInfo("listening", {{"port", port},
                        {"metrics_port", metrics_port},
                        {"served_model_name", model.served.name},
                        {"architecture", info.architecture},
                        {"parameters", info.parameters},
                        {"weight_bytes", info.weight_bytes},
                        {"stored_weights", info.stored_weights},
                        {"device", info.device},
                        {"fingerprint", info.fingerprint},
                        {"max_model_len", model.served.limits.context()},
                        {"max_num_seqs", model.served.limits.max_num_seqs},
                        {"kv_cache_dtype", info.kv_cache_dtype},
                        {"kv_blocks", model.served.limits.num_blocks},
                        {"warm_up_seconds", info.warm_up_seconds},
                        {"kv_cache_tokens", info.kv_cache_tokens}});
}

// What follows from configuration alone.
rpc::GrpcServerOptions ServerOptions(const WorkerConfig& config, const serve::ServedModel& model) {
  rpc::GrpcServerOptions options;
  options.listen = config.listen;
  options.health_names = {v1::WorkerService::service_full_name(),
                          absl::StrCat("variant/", model.name)};
  options.max_message_bytes = kMaxMessageBytes + kAddedBytes;
  options.max_metadata_bytes = config.max_metadata_bytes;
  options.max_calls = MaxCallsOfWorker(config.max_queue, model.limits.max_num_seqs);
  options.max_streams = static_cast<int>(options.max_calls);  // a router has one connection
  options.max_connections = config.max_connections;
  options.keepalive_time_ms = rpc::kWorkerKeepaliveTimeMs;
  options.keepalive_timeout_ms = rpc::kWorkerKeepaliveTimeoutMs;
  return options;
}

// Null: nothing is encrypted.
absl::StatusOr<std::unique_ptr<rpc::TlsCertificates>> LoadCertificates(const WorkerConfig& config) {
  if (config.tls.certificate.empty()) return nullptr;
  return rpc::TlsCertificates::Load(config.tls, "worker");
}

absl::Status Serve(const WorkerConfig& config, const LoadedModel& model,
                   const rpc::TrustedPeers& trusted_peers,
                   const rpc::TlsCertificates* certificates) {
  const Clock& clock = Clock::Real();
  Metrics metrics("thinkwire_worker");
  metrics.AddBuildInfo({{"model", model.served.name},
                        {"device", model.runner->info().device},
                        {"fingerprint", model.served.fingerprint}});
  serve::WorkerMetrics worker_metrics(metrics.registry(), model.served.name);
  worker_metrics.SetLimits(config.max_queue, model.served.limits.max_num_seqs);
  // As many as the engine's own limits let run and wait, for peers to share.
  rpc::Shares places(std::int64_t{config.max_queue} + model.served.limits.max_num_seqs);
  serve::TextPool pool(config.text_threads, static_cast<std::size_t>(config.max_queue), clock);
  engine::Engine engine({.max_queue = config.max_queue,
                         .end_of_sequence_ids = model.served.end_of_sequence_ids,
                         .enable_prefix_caching = config.enable_prefix_caching},
                        *model.runner, clock);
  const rpc::TrustedPeers forwarders = rpc::Forwarders(trusted_peers, config.listen);
  serve::StatusBoard board(engine, model.served, worker_metrics, trusted_peers, clock);
  const serve::RequestReader reader(*model.tokenizer, *model.chat_template, model.served,
                                    &worker_metrics);
  serve::WorkerService service({.pool = pool,
                                .engine = engine,
                                .tokenizer = *model.tokenizer,
                                .model = model.served,
                                .metrics = worker_metrics,
                                .places = places,
                                .clock = clock},
                               reader, board,
                               {.trusted = trusted_peers,
                                .forwarders = forwarders,
                                .forwarders_only = config.trusted_peers_only});
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::MetricsServer> metrics_server,
                   rpc::ShowMetrics(metrics, config.metrics_listen));
  rpc::GrpcServerOptions options = ServerOptions(config, model.served);
  options.services = {&service};
  if (certificates != nullptr) options.credentials = certificates->ForServer();
  options.trusted_peers = trusted_peers;
  options.forwarders = forwarders;
  options.metrics = &metrics;
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::GrpcServer> server, rpc::GrpcServer::Start(options));
  CatchStopSignals();
  server->SetServing(true);
  LogListening(model, server->port(), metrics_server ? metrics_server->port() : 0);
  const engine::StallWatch stall_watch(engine, clock,
                                       std::chrono::seconds(config.step_timeout_s) - kStallEnding,
                                       [&server](const std::string& what) {
                                         engine::EndStalledProcess([&server, &what] {
                                           server->SetServing(false);
                                           LogError(what);
                                         });
                                       });

  LogInfo("stopping", {{"signal", WaitForStopSignal()}});
  server->SetServing(false);
  service.StartDraining();
  const bool idle = service.WaitUntilIdle(std::chrono::seconds(config.drain_timeout_s));
  // Whoever still runs gets UNAVAILABLE, and so do the watchers.
  engine.Stop();
  board.Stop();
  server->Shutdown(kGoodbye);
  pool.Stop();
  Log(idle ? LogLevel::kInfo : LogLevel::kWarning, "stopped", {{"all_finished", idle}});
  return absl::OkStatus();
}

int Tokenize(WorkerConfig& config) {
  const absl::Status found = ResolveModel(ProcessEnvironment, PullAndReport, config);
  if (!found.ok()) return EndWith(kProgram, ExitCodeOf(found), found);
  const auto tokenizer = text::Tokenizer::Load(config.model);
  if (!tokenizer.ok()) return EndWith(kProgram, kExitConfig, tokenizer.status());
  const absl::Status status =
      text::RunTokenize(**tokenizer, config.as_user_text, std::cin, std::cout);
  return status.ok() ? 0 : EndWith(kProgram, kExitFailure, status);
}

// Everything between the options and the end of serving.
int RunConfigured(WorkerConfig& config, const Loaders& loaders) {
  SetLogLevel(LogLevelByName(config.log_level));
  if (const absl::Status status = Validate(config); !status.ok()) {
    return EndWith(kProgram, kExitConfig, status);
  }
  if (config.list) return RunList(config.kv_cache_dtype);
  const auto trusted_peers = rpc::TrustedPeers::Parse(config.trusted_peers);
  if (!trusted_peers.ok()) {
    return EndWith(kProgram, kExitConfig, Annotate(trusted_peers.status(), "--trusted_peers"));
  }
  if (config.tokenize) return Tokenize(config);
  if (const absl::Status room = rpc::CheckRoomForConnections(config.max_connections); !room.ok()) {
    return EndWith(kProgram, kExitConfig, room);
  }
  SurviveSignals();
  const auto certificates = LoadCertificates(config);
  if (!certificates.ok()) return EndWith(kProgram, kExitConfig, certificates.status());
  const auto pull = [&](const hub::PullOptions& options) {
    if (config.check_config) return PullAndReport(options);
    return PullBehindDoor(config, *trusted_peers, certificates->get(), options);
  };
  if (const absl::Status found = ResolveModel(ProcessEnvironment, pull, config); !found.ok()) {
    return EndWith(kProgram, ExitCodeOf(found), found);
  }
  if (Follows(config)) {
    return Follow(config, *trusted_peers, certificates->get(), loaders.follower);
  }
  const auto model = Load(config, loaders.model);
  if (!model.ok()) {
    // A group that another process has left may come together the next time.
    const bool may_work = absl::IsUnavailable(model.status());
    return EndWith(kProgram, may_work ? kExitFailure : kExitConfig, model.status());
  }
  if (config.check_config) {
    std::printf("%s: %s, %s, fingerprint %s\n", model->served.name.c_str(),
                model->runner->info().architecture.c_str(), model->runner->info().device.c_str(),
                model->served.fingerprint.c_str());
    return 0;
  }
  LogSettings(config);
  const absl::Status status = Serve(config, *model, *trusted_peers, certificates->get());
  return status.ok() ? 0 : EndWith(kProgram, kExitFailure, status);
}

}  // namespace

int RunWorker(std::span<const char* const> arguments, const Loaders& loaders) {
  SayWhatEnds(kProgram);
  if (!arguments.empty() && std::string_view(arguments[0]) == "pull") {
    return RunPull(arguments.subspan(1));
  }
  if (!arguments.empty() && std::string_view(arguments[0]) == "quantize") {
    return RunQuantize(arguments.subspan(1));
  }
  auto config = ParseArguments(arguments);
  if (!config.ok()) return EndWith(kProgram, kExitConfig, config.status());
  if (config->help) {
    std::fputs(Usage().c_str(), stdout);
    return 0;
  }
  if (config->version) {
    std::fputs(VersionLine(kProgram).c_str(), stdout);
    return 0;
  }
  return RunConfigured(*config, loaders);
}

}  // namespace thinkwire::worker
