#include "tests/worker/serve/service_fixture.h"

#include <chrono>
#include <thread>
#include <utility>

#include "tests/worker/serve/byte_tokenizer.h"

namespace thinkwire::worker::serve {
namespace {

constexpr step::Limits kLimits = {.max_num_seqs = 4,
                                  .max_num_batched_tokens = 64,
                                  .max_model_len = 512,
                                  .block_tokens = 16,
                                  .num_blocks = 128,
                                  .max_in_flight = 2,
                                  .vocab_size = kVocabulary};

ServedModel FakeServedModel() {
  return {.name = "fake",
          .fingerprint = "fake-1",
          .limits = kLimits,
          .max_queue = 8,
          .end_of_sequence_ids = {kEos}};
}

}  // namespace

FakeWorker::FakeWorker(engine::FakeModel fake_model, const Clock& the_clock)
    : clock(the_clock),
      tokenizer(MakeByteTokenizer()),
      chat_template(*text::ChatTemplate::Create(*tokenizer, text::TemplateKind::kDistill)),
      model(FakeServedModel()),
      runner(kLimits, std::move(fake_model)),
      worker_metrics(metrics.registry(), model.name),
      places(model.max_queue + kLimits.max_num_seqs),
      pool(2, 8, clock),
      engine({.max_queue = model.max_queue, .end_of_sequence_ids = model.end_of_sequence_ids},
             runner, clock),
      reader(*tokenizer, chat_template, model) {}

FakeWorker::~FakeWorker() {
  runner.OpenGate();
  engine.Stop();
  pool.Stop();
}

bool FakeWorker::WaitUntilIdle() {
  for (int i = 0; i < 20'000; ++i) {
    const engine::EngineStatus status = engine.status();
    const bool nobody = status.queued == 0 && status.running == 0 && status.parked == 0;
    if (nobody && status.free_blocks == status.total_blocks) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

ResponseStream::Shared FakeWorker::shared() {
  return {.pool = pool,
          .engine = engine,
          .tokenizer = *tokenizer,
          .model = model,
          .metrics = worker_metrics,
          .places = places,
          .clock = clock,
          .sign_interval = sign_interval};
}

void ScriptIds(engine::FakeModel& model, std::uint64_t seed, std::int32_t position,
               const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) model.Script(seed, position++, id);
}

}  // namespace thinkwire::worker::serve
