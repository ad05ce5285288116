#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/peer_limits.h"
#include "common/rpc/shares.h"
#include "tests/fakes/fake_runner.h"
#include "worker/engine/engine.h"
#include "worker/serve/request_reader.h"
#include "worker/serve/response_stream.h"
#include "worker/serve/text_pool.h"
#include "worker/serve/worker_metrics.h"
#include "worker/text/chat_template.h"

namespace thinkwire::worker::serve {

// Everything of a worker behind its service, with a model that draws what the test scripted.
struct FakeWorker {
  explicit FakeWorker(engine::FakeModel fake_model, const Clock& the_clock = Clock::Real());
  ~FakeWorker();

  // Waits until the engine holds nothing; false if it does not come to that.
  bool WaitUntilIdle();

  ResponseStream::Shared shared();

  const Clock& clock;
  Clock::Duration sign_interval = kSignInterval;
  std::unique_ptr<text::Tokenizer> tokenizer;
  text::ChatTemplate chat_template;
  ServedModel model;
  engine::FakeRunner runner;
  Metrics metrics{"thinkwire_worker"};
  WorkerMetrics worker_metrics;
  rpc::Shares places;
  TextPool pool;
  engine::Engine engine;
  RequestReader reader;
};

// `model` with `ids` drawn one after another from `position` on, for `seed`.
void ScriptIds(engine::FakeModel& model, std::uint64_t seed, std::int32_t position,
               const std::vector<std::int32_t>& ids);

}  // namespace thinkwire::worker::serve
