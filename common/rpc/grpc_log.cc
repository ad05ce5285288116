#include "common/rpc/grpc_log.h"

#include <grpc/support/log.h>

#include <string_view>

#include "common/log.h"

namespace thinkwire::rpc {
namespace {

// How gRPC 1.51 says that a connection's other end does not speak TLS as it should.
constexpr std::string_view kHandshakeFailed = "Handshake failed with fatal error ";

void Forward(gpr_log_func_args* record) {
  const std::string_view text(record->message);
  // Whoever reaches a port can cause it: by a name of its own, it leaves room for what else is
  // said.
  if (text.starts_with(kHandshakeFailed)) {
    LogWarning("TLS handshake failed", {{"error", text.substr(kHandshakeFailed.size())}});
    return;
  }
  const LogLevel level =
      record->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  Log(level, "grpc", {{"text", record->message}, {"file", record->file}, {"line", record->line}});
}

}  // namespace

void SendGrpcLogsToOurs() { gpr_set_log_function(&Forward); }

}  // namespace thinkwire::rpc
