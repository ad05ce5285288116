#include "worker/follow.h"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>

#include "common/last_words.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/metrics_server.h"
#include "common/status.h"
#include "common/stop_signal.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/follower.h"
#include "worker/model_options.h"
#include "worker/parallel/local_step_channel.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker {
namespace {

constexpr char kProgram[] = "thinkwire-worker";

rpc::GrpcServerOptions ServerOptions(const WorkerConfig& config,
                                     const rpc::TrustedPeers& trusted_peers, Metrics& metrics) {
  rpc::GrpcServerOptions options;
  options.listen = config.listen;
  options.max_connections = config.max_connections;
  options.max_metadata_bytes = config.max_metadata_bytes;
  options.trusted_peers = trusted_peers;
  options.metrics = &metrics;
  return options;
}

// Leader and followers of a group are often told to stop at once: who leads drains first.
void OutliveTheLeader(std::chrono::seconds patience) {
  CatchStopSignals();
  std::thread([patience] {
    LogInfo("stopping with the leader", {{"signal", WaitForStopSignal()}});
    std::this_thread::sleep_for(patience);
    LogWarning("stopped without the leader");
    std::_Exit(0);
  }).detach();
}

absl::StatusOr<std::unique_ptr<model::Follower>> Load(const WorkerConfig& config,
                                                      const FollowerLoader& load_follower) {
  const std::unique_ptr<model::ModelFiles> files = model::OpenModelFiles(config.model);
  RETURN_IF_ERROR(files->Config().status());
  ASSIGN_OR_RETURN(const auto tokenizer, text::Tokenizer::Load(files->TokenizerPath()));
  ASSIGN_OR_RETURN(const model::ModelOptions options,
                   MakeModelOptions(config, tokenizer->num_ids()));
  return load_follower(options, std::make_unique<parallel::LocalStepChannel<step::Plan>>(
                                    options.group->num_ranks, options.max_in_flight + 1));
}

// Until the leader ends the group.
absl::Status FollowToTheEnd(const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
                            const rpc::TlsCertificates* certificates,
                            const FollowerLoader& load_follower) {
  Metrics metrics("thinkwire_worker");
  ASSIGN_OR_RETURN(const auto metrics_server, rpc::ShowMetrics(metrics, config.metrics_listen));
  rpc::GrpcServerOptions options = ServerOptions(config, trusted_peers, metrics);
  if (certificates != nullptr) options.credentials = certificates->ForServer();
  ASSIGN_OR_RETURN(const auto server, rpc::GrpcServer::Start(options));
  ASSIGN_OR_RETURN(const auto follower, Load(config, load_follower));
  metrics.AddBuildInfo({{"model", *ServedModelName(config)},
                        {"device", follower->device()},
                        {"fingerprint", follower->fingerprint()}});
  server->SetServing(true);
  LogInfo("following", {{"port", server->port()},
                        {"metrics_port", metrics_server ? metrics_server->port() : 0},
                        {"ranks", config.ranks},
                        {"leader", config.leader},
                        {"device", follower->device()},
                        {"fingerprint", follower->fingerprint()},
                        {"kv_blocks", follower->limits().num_blocks}});
  OutliveTheLeader(std::chrono::seconds(config.drain_timeout_s));
  follower->AwaitEnd();
  server->SetServing(false);
  LogInfo("the leader has ended the group");
  return absl::OkStatus();
}

}  // namespace

int Follow(const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
           const rpc::TlsCertificates* certificates, const FollowerLoader& load_follower) {
  LogSettings(config);
  const absl::Status status = FollowToTheEnd(config, trusted_peers, certificates, load_follower);
  if (status.ok()) return 0;
  return EndWith(kProgram, absl::IsUnavailable(status) ? kExitFailure : kExitConfig, status);
}

}  // namespace thinkwire::worker
