#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/device_roofs.h"
#include "tests/bench/engine_options.h"
#include "worker/model/load_model.h"
#include "worker/step/runner.h"

namespace thinkwire::bench {

// How a value is spread over many steps; count 0: nothing was stamped.
struct Spread {
  std::size_t count = 0;
  double median = 0;
  double p99 = 0;
};

enum class FigureKind : std::uint8_t { kDecode, kPrefill };

// One line of the table: medians over the repetitions.
struct Figure {
  FigureKind kind = FigureKind::kDecode;
  std::int32_t sequences = 0;
  std::int32_t prompt_tokens = 0;     // each
  std::int32_t output_tokens = 0;     // each
  std::int64_t generated_tokens = 0;  // one repetition, all sequences
  std::int64_t decoded_tokens = 0;    // of them in the time that tokens_per_second is taken over
  double tokens_per_second = 0;       // drawn for kDecode, of prompts for kPrefill
  double lowest = 0;                  // tokens_per_second of the slowest repetition
  double highest = 0;
  double first_token_seconds = 0;  // from asking to the first token of the last sequence
  // What one decode step must read, or one prefill must multiply, and how much of the roof
  // tokens_per_second comes to.
  double work = 0;  // bytes or floating-point operations
  double roof_share = 0;
  Spread step_seconds = {};  // of full decode steps
  Spread turn_seconds = {};  // StepStamp::turn_seconds of them
  Spread gap_seconds = {};   // ModelRunner::TakeStepGaps of them
};

struct EngineReport {
  std::string model;
  DeviceRoofs roofs;
  worker::model::ModelInfo info;
  worker::step::Limits limits;
  std::int64_t kv_bytes_per_token = 0;
  double load_seconds = 0;
  std::int64_t peak_gpu_bytes = 0;  // in use since loading began; 0: no gpu_memory_bytes
  std::vector<Figure> figures;
};

// Measures the roofs, loads the model once and runs every figure. `on_progress` sees the report
// when the model is loaded and after each figure, so that what is done is not lost; `on_note` is
// told what begins, for people who wait: "batch 4 at 64 tokens, 2 of 3". Fails: what cannot be
// measured or loaded, in one sentence.
absl::StatusOr<EngineReport> RunEngineBench(
    const EngineBenchOptions& options, const std::function<void(const EngineReport&)>& on_progress,
    const std::function<void(const std::string&)>& on_note = [](const std::string&) {});

}  // namespace thinkwire::bench
