// Any bytes as a request that goes on elsewhere, from the wire to the next tokens of its outputs:
// refused with a status for callers' mistakes, or outputs that the engine takes and whose events
// are text and ids of what is new alone.
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "common/utf8.h"
#include "tests/fuzz/reading_worker.h"
#include "thinkwire/v1/worker.pb.h"
#include "worker/engine/replay.h"
#include "worker/engine/request_check.h"
#include "worker/serve/output_events.h"

namespace {

using namespace thinkwire;
using worker::serve::OutputEvents;

bool IsCallersMistake(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsUnimplemented(status) ||
         absl::IsFailedPrecondition(status);
}

void CheckText(const OutputEvents::Events& events) {
  for (const v1::GenerateResponse& event : events) {
    CHECK(IsValidUtf8(event.reasoning_delta().text()), "text is whole characters");
    CHECK(IsValidUtf8(event.answer_delta().text()), "text is whole characters");
  }
}

// Draws the vocabulary's ids in their order, as any model might.
void GoOn(const ReadingWorker& worker, std::int32_t max_tokens,
          worker::serve::RequestReader::Begun& begun) {
  OutputEvents& output = *begun.events;
  worker::engine::Replay replay(begun.request, max_tokens, worker.model.end_of_sequence_ids);
  for (const std::int32_t id : begun.request.drawn_ids) replay.Next(id);
  OutputEvents::Events events;
  std::int32_t id = begun.request.drawn_ids.empty() ? 0 : begun.request.drawn_ids.back();
  while (!replay.end()) {
    id = (id + 1) % worker.model.limits.vocab_size;
    const worker::engine::Token token = replay.Next(id);
    output.Add({&token, 1}, {}, &events);
  }
  output.End(*replay.end(), {}, &events);
  CHECK(output.finished(), "an output that the engine ends has its end");
  CheckText(events);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const ReadingWorker worker;
  const grpc::Slice slice(data, size);
  v1::WorkerGenerateRequest request;
  absl::Status status = rpc::ParseRequest(grpc::ByteBuffer(&slice, 1), request);
  if (status.ok()) status = rpc::CheckRequest(request);
  if (!status.ok()) {
    CHECK(IsCallersMistake(status), "a refusal says what the caller did wrong");
    return 0;
  }
  auto reading =
      worker.reader->Read(request.request(), request.has_resume() ? &request.resume() : nullptr);
  if (!reading.ok()) {
    CHECK(IsCallersMistake(reading.status()), "a refusal says what the caller did wrong");
    return 0;
  }
  for (auto& [index, begun] : reading->begun) {
    if (begun.events->finished()) {
      CheckText(begun.events->TakeUnsent());
      continue;
    }
    const auto checked = worker::engine::CheckRequest(begun.request, worker.model.limits);
    CHECK(checked.ok(), "the engine takes what the service has read");
    GoOn(worker, reading->max_tokens, begun);
  }
  return 0;
}
