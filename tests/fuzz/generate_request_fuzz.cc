// Any bytes as a GenerateRequest, from the wire to what the engine is given: refused with a status
// for callers' mistakes, or a request that the engine's own check accepts.
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>

#include "common/check.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "tests/fuzz/reading_worker.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/request_check.h"

namespace {

using namespace thinkwire;

bool IsCallersMistake(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsUnimplemented(status) ||
         absl::IsFailedPrecondition(status);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ReadingWorker worker;
  const grpc::Slice slice(data, size);
  v1::GenerateRequest request;
  absl::Status status = rpc::ParseRequest(grpc::ByteBuffer(&slice, 1), request);
  if (status.ok()) status = rpc::CheckRequest(request);
  if (!status.ok()) {
    CHECK(IsCallersMistake(status), "a refusal says what the caller did wrong");
    return 0;
  }
  const auto reading = worker.reader->Read(request);
  if (!reading.ok()) {
    CHECK(IsCallersMistake(reading.status()), "a refusal says what the caller did wrong");
    return 0;
  }
  const auto checked = worker::engine::CheckRequest(reading->request, worker.model.limits);
  CHECK(checked.ok(), "the engine takes what the service has read");
  return 0;
}
