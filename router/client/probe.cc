#include "router/client/probe.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>

#include "common/dial_address.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace thinkwire::router::client {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

absl::StatusOr<ProbeTarget> ReadProbeTarget(const std::string& text, int default_port) {
  const std::size_t slash = text.find('/');
  ProbeTarget target;
  ASSIGN_OR_RETURN(target.address, DialAddress("probe", text.substr(0, slash), default_port));
  if (slash != text.npos) target.name = text.substr(slash + 1);
  return target;
}

absl::Status Probe(const ProbeTarget& target, const rpc::ChannelSecurity& security,
                   Clock::Duration patience) {
  const auto stub =
      Health::NewStub(rpc::MakeChannel(target.address, rpc::ProxyFor(target.address), security));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::duration_cast<std::chrono::milliseconds>(patience));
  HealthCheckRequest request;
  request.set_service(target.name);
  HealthCheckResponse response;
  RETURN_IF_ERROR(rpc::FromGrpc(stub->Check(&context, request, &response)));
  if (response.status() == HealthCheckResponse::SERVING) return absl::OkStatus();
  return absl::UnavailableError(HealthCheckResponse::ServingStatus_Name(response.status()));
}

}  // namespace thinkwire::router::client
