// Any bytes as a GenerateRequest, from the wire to what the engine is given: refused with a status
// for callers' mistakes, or a request that the engine's own check accepts.
#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/check.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/request_check.h"
#include "worker/serve/request_reader.h"
#include "worker/text/chat_template.h"
#include "worker/text/tokenizer.h"

namespace {

using namespace thinkwire;

constexpr char kModel[] = "deploy/models/tiny-r1";  // from the repository's root

// What a worker reads requests with.
struct Worker {
  std::unique_ptr<worker::text::Tokenizer> tokenizer;
  std::unique_ptr<worker::text::ChatTemplate> chat_template;
  worker::serve::ServedModel model;
  std::unique_ptr<worker::serve::RequestReader> reader;

  Worker() {
    auto loaded = worker::text::Tokenizer::Load(kModel);
    CHECK(loaded.ok(), "runs in the repository's root");
    tokenizer = *std::move(loaded);
    auto created =
        worker::text::ChatTemplate::Create(*tokenizer, worker::text::TemplateKind::kDistill);
    CHECK(created.ok(), "the bundled model's tokenizer has the control tokens");
    chat_template = std::make_unique<worker::text::ChatTemplate>(*std::move(created));
    model.limits = {.max_num_seqs = 4,
                    .max_num_batched_tokens = 64,
                    .max_model_len = 512,
                    .block_tokens = 16,
                    .num_blocks = 64,
                    .vocab_size = tokenizer->num_ids()};
    reader = std::make_unique<worker::serve::RequestReader>(*tokenizer, *chat_template, model);
  }
};

bool IsCallersMistake(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsUnimplemented(status);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Worker worker;
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
