#pragma once

namespace thinkwire::rpc {

// From now on gRPC's own log lines are JSON records of ours. Idempotent.
void SendGrpcLogsToOurs();

}  // namespace thinkwire::rpc
