// thinkwire-router: stateless; picks variant and worker for each request and passes its stream on.
// Everything that can be wrong with options or configuration ends in one line on stderr before
// anything listens.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/last_words.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/listener.h"
#include "common/rpc/metrics_server.h"
#include "common/rpc/trusted_peers.h"
#include "common/status.h"
#include "common/stop_signal.h"
#include "common/version.h"
#include "router/cache_salt.h"
#include "router/catalog.h"
#include "router/config.h"
#include "router/config_reload.h"
#include "router/dry_run.h"
#include "router/fleet/worker_pool.h"
#include "router/http/door.h"
#include "router/router_metrics.h"
#include "router/security.h"
#include "router/service.h"

namespace thinkwire::router {
namespace {

constexpr char kProgram[] = "thinkwire-router";

// How long the first round of connections may hold the start up.
constexpr auto kFirstContact = std::chrono::seconds(2);

// The name by which health knows a variant: SERVING while a worker of it is live.
std::string HealthName(const VariantConfig& variant) {
  return absl::StrCat("variant/", variant.name);
}

// Keeps health and gauges true to the pool: the router is SERVING while any worker is live.
class LiveState {
 public:
  LiveState(const CurrentCatalog& catalog, RouterMetrics& metrics)
      : catalog_(catalog), metrics_(metrics) {}

  void Update(const fleet::WorkerPool& pool) {
    MutexLock lock(mu_);
    const std::shared_ptr<const Catalog> catalog = catalog_.Get();
    for (std::size_t i = 0; i < catalog->variants().size(); ++i) {
      const std::string name = HealthName(catalog->variants()[i]);
      if (catalog->IsConfigured(i)) {
        const fleet::VariantState state = pool.Describe(i);
        metrics_.SetWorkers(i, state.configured, state.live, state.out, state.fingerprints.size());
        live_[name] = state.live > 0;
      } else {
        metrics_.ForgetWorkers(i);
        live_.erase(name);
        if (server_ != nullptr) server_->ForgetHealth(name);
      }
    }
    Tell();
  }

  // From now on health follows; null: no more.
  void Follow(rpc::GrpcServer* server) {
    MutexLock lock(mu_);
    server_ = server;
    Tell();
  }

 private:
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (server_ == nullptr) return;
    for (const auto& [name, live] : live_) server_->SetServing(name, live);
    server_->SetServing(
        std::ranges::any_of(live_, [](const auto& variant) { return variant.second; }));
  }

  const CurrentCatalog& catalog_;
  RouterMetrics& metrics_;
  Mutex mu_;
  std::map<std::string, bool> live_ ABSL_GUARDED_BY(mu_);  // by health name
  rpc::GrpcServer* server_ ABSL_GUARDED_BY(mu_) = nullptr;
};

std::vector<std::string> HealthNames(const RouterConfig& config) {
  std::vector<std::string> names;
  for (const VariantConfig& variant : config.variants) names.push_back(HealthName(variant));
  return names;
}

std::vector<std::string> VariantNames(const RouterConfig& config) {
  std::vector<std::string> names;
  for (const VariantConfig& variant : config.variants) names.push_back(variant.name);
  return names;
}

void LogVariants(const RouterConfig& config) {
  for (const VariantConfig& variant : config.variants) {
    std::string workers;
    for (const std::string& worker : variant.workers) {
      workers += (workers.empty() ? "" : " ") + worker;
    }
    LogInfo("variant", {{"name", variant.name},
                        {"workers", workers},
                        {"max_prompt_bytes", variant.max_prompt_bytes},
                        {"escalate_to", variant.escalate_to},
                        {"cost_per_million_tokens", variant.traits.cost_per_million},
                        {"context_tokens", variant.traits.context_tokens}});
  }
}

absl::StatusOr<CacheSalts> MakeCacheSalts(const RouterOptions& options) {
  if (options.cache_salt_key_file.empty()) return CacheSalts::OfRandomKey();
  auto salts = CacheSalts::OfKeyFile(options.cache_salt_key_file);
  if (!salts.ok()) return Annotate(salts.status(), "--cache_salt_key_file");
  return salts;
}

// A gateway has all of its clients' calls on one connection.
int MaxStreams(const rpc::TrustedPeers& trusted_peers) {
  return trusted_peers.empty() ? kMaxStreamsOfConnection : static_cast<int>(kMaxCalls);
}

// Of the files that gRPC's connections leave.
int MaxHttpConnections(const RouterOptions& options) {
  const std::int64_t of_grpc = rpc::kFilesOfWatched * std::int64_t{options.max_connections};
  const std::int64_t all = rpc::MakeRoomForFiles(of_grpc + options.http.max_connections);
  return static_cast<int>(std::clamp<std::int64_t>(all - of_grpc, 1, options.http.max_connections));
}

// Null: there shall be none.
absl::StatusOr<std::unique_ptr<http::Door>> OpenDoor(const RouterOptions& options,
                                                     const http::ReaderOptions& reader,
                                                     const rpc::TrustedPeers& trusted_peers,
                                                     Intake& intake, Metrics& metrics) {
  if (options.http.listen.empty()) return nullptr;
  auto door = http::Door::Open({.listen = options.http.listen,
                                .max_connections = MaxHttpConnections(options),
                                .trusted = trusted_peers,
                                .tls = options.tls,
                                .needs_key = !options.api_keys.empty(),
                                .hosts = options.http.hosts,
                                .cors_origins = options.http.cors_origins,
                                .page = options.http.page,
                                .reader = reader},
                               intake, metrics.registry());
  if (!door.ok()) return Annotate(door.status(), "--http_listen");
  return door;
}

absl::StatusOr<http::ReaderOptions> ReadHttpOptions(const RouterOptions& options) {
  auto efforts = http::ReadEfforts(options.http.reasoning_efforts);
  if (!efforts.ok()) return Annotate(efforts.status(), "--http_reasoning_efforts");
  auto forms = http::ReadReasoningForms(options.http.reasoning_field);
  if (!forms.ok()) return Annotate(forms.status(), "--http_reasoning_field");
  return http::ReaderOptions{.reasoning = *std::move(forms),
                             .efforts = *std::move(efforts),
                             .strict = options.http.strict};
}

absl::Status Serve(const RouterOptions& options, const RouterConfig& config,
                   const rpc::TrustedPeers& trusted_peers, const CacheSalts& cache_salts,
                   const Security& security, http::ReaderOptions http_options) {
  SurviveSignals();
  CatchStopSignals();
  LogSettings(options);
  LogVariants(config);
  Metrics metrics("thinkwire_router");
  metrics.AddBuildInfo({});
  RouterMetrics router_metrics(metrics.registry(), VariantNames(config));
  CurrentCatalog catalog(std::make_shared<const Catalog>(config));
  LiveState live(catalog, router_metrics);
  fleet::WorkerPool pool(
      config.variants, Clock::Real(),
      [&](const fleet::WorkerPool& changed) { live.Update(changed); }, {},
      fleet::Resolver::OfMachine(), security.ForWorkers(options));
  live.Update(pool);
  ConfigReload reload({.path = options.config,
                       .catalog = catalog,
                       .pool = pool,
                       .metrics = router_metrics,
                       .on_taken = [&] { live.Update(pool); }});
  ReasoningService service({.catalog = catalog,
                            .pool = pool,
                            .metrics = router_metrics,
                            .clock = Clock::Real(),
                            .resume_wait = std::chrono::seconds(options.resume_wait_s),
                            .trusted = trusted_peers,
                            .callers = security.callers.get(),
                            .cache_salts = options.share_prefixes ? nullptr : &cache_salts,
                            .num_routers = options.routers,
                            .version = Version()});
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::MetricsServer> metrics_server,
                   rpc::ShowMetrics(metrics, options.metrics_listen));
  pool.Start();
  pool.WaitForFirstContact(kFirstContact);
  ASSIGN_OR_RETURN(
      const std::unique_ptr<rpc::GrpcServer> server,
      rpc::GrpcServer::Start({.listen = options.listen,
                              .services = {&service},
                              .health_names = {v1::ReasoningService::service_full_name()},
                              .own_health_names = HealthNames(config),
                              .credentials = security.ForServer(),
                              .admit = [&](const auto& call) { return service.Admit(call); },
                              .reflection_everywhere = options.reflection,
                              .max_metadata_bytes = options.max_metadata_bytes,
                              .max_streams = MaxStreams(trusted_peers),
                              .max_connections = options.max_connections,
                              .trusted_peers = trusted_peers,
                              .forwarders = trusted_peers,
                              .metrics = &metrics}));
  http_options.reasoning.catalog = &catalog;
  ASSIGN_OR_RETURN(std::unique_ptr<http::Door> door,
                   OpenDoor(options, http_options, trusted_peers, service, metrics));
  live.Follow(server.get());
  LogInfo("listening", {{"port", server->port()},
                        {"metrics_port", metrics_server ? metrics_server->port() : 0},
                        {"http_port", door ? door->port() : 0}});

  reload.Start();
  LogInfo("stopping", {{"signal", WaitForStopSignal([&] { reload.Ask(); })}});
  live.Follow(nullptr);
  server->SetServing(false);
  service.StartDraining();
  const std::chrono::seconds drain(options.drain_timeout_s);
  // Clients go elsewhere from now on, rather than be refused until the last call has ended.
  server->BeginDrain();
  if (door) door->BeginDrain();
  const bool idle = service.WaitUntilIdle(drain);
  server->Shutdown(Clock::Duration::zero());
  door.reset();
  pool.Stop();
  Log(idle ? LogLevel::kInfo : LogLevel::kWarning, "stopped", {{"all_finished", idle}});
  return absl::OkStatus();
}

int Main(std::span<const char* const> arguments) {
  SayWhatEnds(kProgram);
  const auto options = ParseArguments(arguments);
  if (!options.ok()) return EndWith(kProgram, kExitConfig, options.status());
  if (options->help) {
    std::fputs(Usage().c_str(), stdout);
    return 0;
  }
  if (options->version) {
    std::fputs(VersionLine(kProgram).c_str(), stdout);
    return 0;
  }
  SetLogLevel(LogLevelByName(options->log_level));
  if (const absl::Status room = rpc::CheckRoomForConnections(options->max_connections);
      !room.ok()) {
    return EndWith(kProgram, kExitConfig, room);
  }
  const auto trusted_peers = rpc::TrustedPeers::Parse(options->trusted_peers);
  if (!trusted_peers.ok()) {
    return EndWith(kProgram, kExitConfig, Annotate(trusted_peers.status(), "--trusted_peers"));
  }
  const auto http_options = ReadHttpOptions(*options);
  if (!http_options.ok()) return EndWith(kProgram, kExitConfig, http_options.status());
  const auto cache_salts = MakeCacheSalts(*options);
  if (!cache_salts.ok()) return EndWith(kProgram, kExitConfig, cache_salts.status());
  const auto security = Security::Load(*options);
  if (!security.ok()) return EndWith(kProgram, kExitConfig, security.status());
  const auto config = LoadConfig(options->config);
  if (!config.ok()) return EndWith(kProgram, kExitConfig, config.status());
  if (options->check_config) {
    std::printf("%s: %zu variants, all well\n", options->config.c_str(), config->variants.size());
    return 0;
  }
  if (!options->dry_run.empty()) {
    const absl::Status status = DryRun(*config, options->dry_run, [](const std::string& line) {
      std::printf("%s\n", line.c_str());
    });
    return status.ok() ? 0 : EndWith(kProgram, kExitConfig, Annotate(status, "--dry_run"));
  }
  const absl::Status status =
      Serve(*options, *config, *trusted_peers, *cache_salts, *security, *http_options);
  return status.ok() ? 0 : EndWith(kProgram, kExitFailure, status);
}

}  // namespace
}  // namespace thinkwire::router

int main(int argc, char** argv) {
  return thinkwire::router::Main({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
