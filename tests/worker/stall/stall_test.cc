// A rank that never enters a collective, or whose device fails, ends the process in time and in one
// line, whatever its peers wait in. Each test runs in a process of its own, as CUDA survives no
// fork, and waits for real devices in real time.
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/clock.h"
#include "tests/fakes/fault.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "worker/engine/engine.h"
#include "worker/engine/stall_watch.h"
#include "worker/kernels/devices.h"

namespace thinkwire::worker {
namespace {

using std::chrono::seconds;

struct Case {
  std::string name;
  std::string device;
  int ranks = 1;
  std::int32_t prompt_tokens = 4;
  std::string fault;         // as fakes/fault.h reads it
  seconds limit{9};          // of the watch; the worker's own by default
  seconds ended_within{10};  // of the request that meets the fault
  std::string last_words;    // a regular expression for a part of the one line
};

std::vector<Case> Cases() {
  const std::string behind =
      "no progress for [0-9.]+ s: step 20 is not done, [^\n]*: rank 1 is behind";
  return {
      {.name = "CpuRankNeverEnters",
       .device = "cpu",
       .ranks = 2,
       .fault = "stuck_rank:20:1",
       .limit = seconds(2),
       .last_words = behind},
      // The other rank's kernel waits in peer memory.
      {.name = "GpuRankNeverEntersAReplayedStep",
       .device = "cuda",
       .ranks = 2,
       .fault = "stuck_rank:20:1",
       .last_words = behind},
      // More rows than go through peer memory: the other rank's kernel waits in NCCL.
      {.name = "GpuRankNeverEntersALongPrefill",
       .device = "cuda",
       .ranks = 2,
       .prompt_tokens = 300,
       .fault = "stuck_rank:1:1",
       .last_words = "step 1 is not done, [^\n]*: rank 1 is behind"},
      {.name = "GpuIsGivenNoStep",
       .device = "cuda",
       .fault = "stuck_rank:20:0",
       .last_words = "step 20 is not done, rank 0 last beat in step 19"},
      {.name = "GpuFailsAndItsRankIsStuck",
       .device = "cuda",
       .ranks = 2,
       .fault = "device_error:20:1",
       .ended_within = seconds(2),
       .last_words = "CUDA error on device [01]"},  // each maps the other's memory: both fail
  };
}

void PrintTo(const Case& test, std::ostream* out) { *out << test.name; }

// Ends as the fault makes it end, or with 3 if it has not in time.
[[noreturn]] void RunWithFault(const Case& test) {
  model::ModelOptions options;
  options.model_dir = model::ModelDir("random");
  options.random_weights = true;
  options.device = test.device;
  options.tensor_parallel_size = test.ranks;
  options.cpu_threads = test.ranks;
  options.max_num_batched_tokens = 1024;
  options.max_model_len = 1024;
  options.kv_cache_memory_bytes = 1 << 26;
  auto runner = model::LoadModelWithFault(options, model::LocalPlans(options), test.fault);
  CHECK(runner.ok(), "the model is loaded");
  engine::Engine engine({}, **runner, Clock::Real());
  const engine::StallWatch watch(engine, Clock::Real(), test.limit, [](const std::string& what) {
    engine::EndStalledProcess([what] { std::fprintf(stderr, "%s\n", what.c_str()); });
  });
  engine::Reader reader;
  engine::Request request;
  request.prompt_ids.assign(static_cast<std::size_t>(test.prompt_tokens), 1);
  request.max_tokens = 100;
  request.ignore_eos = true;
  CHECK(engine.Submit(request, reader.stream()).ok(), "the request is taken");
  std::this_thread::sleep_for(test.ended_within);
  std::fputs("the process has outlived its fault\n", stderr);
  std::_Exit(3);
}

class StallTest : public testing::TestWithParam<Case> {};

TEST_P(StallTest, EndsTheProcessInTimeAndInOneLine) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::string why_none;
  if (kernels::OpenDevices({.device = GetParam().device, .ranks = GetParam().ranks}, &why_none)
          .empty()) {
    GTEST_SKIP() << why_none;
  }
  EXPECT_EXIT(RunWithFault(GetParam()), testing::ExitedWithCode(70),
              "^[^\n]*" + GetParam().last_words + "[^\n]*\n$");
}

INSTANTIATE_TEST_SUITE_P(Faults, StallTest, testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace thinkwire::worker
