#include "worker/download_door.h"

#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include "common/log.h"
#include "common/status.h"
#include "thinkwire/v1/worker.grpc.pb.h"
#include "worker/model_source.h"

namespace thinkwire::worker {
namespace {

prometheus::Gauge& MakeGauge(Metrics& metrics, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(metrics.registry()).Add({});
}

}  // namespace

DownloadDoor::DownloadDoor()
    : metrics_("thinkwire_worker"),
      total_bytes_(MakeGauge(metrics_, "thinkwire_worker_download_total_bytes",
                             "Bytes of the model's files, as far as they are known")),
      done_bytes_(MakeGauge(metrics_, "thinkwire_worker_download_done_bytes",
                            "Bytes of them that are here")) {}

absl::StatusOr<std::unique_ptr<DownloadDoor>> DownloadDoor::Open(
    const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
    const rpc::TlsCertificates* certificates) {
  std::unique_ptr<DownloadDoor> door(new DownloadDoor);
  ASSIGN_OR_RETURN(door->metrics_server_, rpc::ShowMetrics(door->metrics_, config.metrics_listen));
  rpc::GrpcServerOptions options;
  options.listen = config.listen;
  options.health_names = {v1::WorkerService::service_full_name()};
  options.max_connections = config.max_connections;
  options.max_metadata_bytes = config.max_metadata_bytes;
  options.trusted_peers = trusted_peers;
  options.metrics = &door->metrics_;
  if (certificates != nullptr) options.credentials = certificates->ForServer();
  ASSIGN_OR_RETURN(door->server_, rpc::GrpcServer::Start(options));
  LogInfo("downloading the model",
          {{"port", door->server_->port()},
           {"metrics_port", door->metrics_server_ ? door->metrics_server_->port() : 0}});
  return door;
}

void DownloadDoor::Look(const hub::Progress& progress) {
  total_bytes_.Set(static_cast<double>(progress.total_bytes()));
  done_bytes_.Set(static_cast<double>(progress.done_bytes()));
}

absl::StatusOr<std::filesystem::path> PullBehindDoor(const WorkerConfig& config,
                                                     const rpc::TrustedPeers& trusted_peers,
                                                     const rpc::TlsCertificates* certificates,
                                                     const hub::PullOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<DownloadDoor> door,
                   DownloadDoor::Open(config, trusted_peers, certificates));
  return PullAndTell(options, [&](const hub::Progress& progress) { door->Look(progress); });
}

}  // namespace thinkwire::worker
