#include "common/rpc/grpc_log.h"

#include <grpc/support/log.h>

#include "common/log.h"

namespace thinkwire::rpc {
namespace {

void Forward(gpr_log_func_args* record) {
  const LogLevel level =
      record->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  Log(level, "grpc", {{"text", record->message}, {"file", record->file}, {"line", record->line}});
}

}  // namespace

void SendGrpcLogsToOurs() { gpr_set_log_function(&Forward); }

}  // namespace thinkwire::rpc
