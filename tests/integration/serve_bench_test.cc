// `thinkwire-bench serve` against the whole path, and against a worker that breaks the contract.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/fakes/fake_worker.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// What one run of the bench left.
struct BenchRun {
  int exit = 0;
  std::string output;
  json report;
};

BenchRun RunBench(const RouterProcess& router, const std::vector<std::string>& options) {
  const std::string path = testing::TempDir() + "serve-" + std::to_string(getpid()) + ".json";
  std::vector<std::string> arguments = {kBench,           "serve",  "--router",
                                        router.address(), "--json", path};
  arguments.insert(arguments.end(), options.begin(), options.end());
  Process bench(arguments);
  BenchRun run;
  run.exit = bench.Wait();
  run.output = bench.output() + bench.error();
  std::ifstream file(path);
  run.report = json::parse(file, nullptr, /*allow_exceptions=*/false);
  std::filesystem::remove(path);
  EXPECT_TRUE(run.report.is_object()) << run.output;
  return run;
}

// Of all streams, however they ended.
std::int64_t SumOf(const json& report, const std::string& key) {
  std::int64_t sum = 0;
  for (const json& totals : report["totals"]) sum += totals[key].get<std::int64_t>();
  return sum;
}

TEST(ServeBenchTest, AClosedLoopWithCancelsAndWrongRequestsAccountsForEveryStream) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  const BenchRun run =
      RunBench(router, {"--requests=300", "--concurrency=12", "--warmup_requests=12",
                        "--max_tokens=uniform:1,24", "--cancel_share=0.2",
                        "--cancel_after_tokens=uniform:0,8", "--bad_share=0.1"});
  EXPECT_EQ(run.exit, 0) << run.output;
  const json& totals = run.report["totals"];
  EXPECT_EQ(run.report["sent"], 300);
  EXPECT_EQ(SumOf(run.report, "requests"), 300);
  EXPECT_EQ(run.report["violations"], 0) << run.output;
  EXPECT_EQ(totals["failed"]["requests"], 0);
  EXPECT_EQ(totals["deadline"]["requests"], 0);
  EXPECT_GT(totals["cancelled"]["requests"], 10);
  EXPECT_GT(totals["refused"]["requests"], 10);
  EXPECT_EQ(totals["refused"]["requests"], run.report["wrong_requests"]);
  EXPECT_EQ(run.report["refusals"], (json{{"INVALID_ARGUMENT", run.report["wrong_requests"]}}));

  const json& figures = run.report["figures"];
  EXPECT_GT(figures["output_tokens_per_second"], 0);
  EXPECT_GT(figures["first_reasoning_token_seconds"]["p50"], 0);
  EXPECT_EQ(figures["completion_seconds"]["count"], figures["completed"]);
  EXPECT_LT(figures["completed"], totals["completed"]["requests"]) << "without the warm-up";
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ServeBenchTest, AnOpenLoopOfTokenIdsCountsAsTheRouterDoes) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel), "--random_weights"});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  const BenchRun run = RunBench(router, {"--requests=60", "--rate=200", "--prompt_tokens=20",
                                         "--max_tokens=7", "--ignore_eos"});
  EXPECT_EQ(run.exit, 0) << run.output;
  EXPECT_EQ(run.report["loop"]["kind"], "open");
  const json& completed = run.report["totals"]["completed"];
  EXPECT_EQ(completed["requests"], 60);
  EXPECT_EQ(completed["prompt_tokens"], 60 * 20);
  EXPECT_EQ(SumOf(run.report, "reasoning_tokens") + SumOf(run.report, "answer_tokens"), 60 * 7);
  for (const std::string kind : {"prompt", "reasoning", "answer", "discarded"}) {
    EXPECT_EQ(router.Metric("thinkwire_router_tokens_total",
                            absl::StrCat("{kind=\"", kind, "\",variant=\"tiny-r1\"}")),
              completed[kind + "_tokens"].get<double>());
  }
}

TEST(ServeBenchTest, WavesTellHowFastAllDecodeTogether) {
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  const BenchRun run =
      RunBench(router, {"--requests=12", "--concurrency=4", "--warmup_requests=4", "--in_waves",
                        "--prompt_tokens=16", "--max_tokens=24", "--ignore_eos"});
  EXPECT_EQ(run.exit, 0) << run.output;
  EXPECT_GT(run.report["figures"]["decode_tokens_per_second"],
            run.report["figures"]["output_tokens_per_second"]);
}

TEST(ServeBenchTest, AStreamThatFailsIsToldAndFailsTheRun) {
  FakeWorker worker("fake");
  RouterProcess router("fake", worker.address());
  auto events = SmallStream();
  worker.SetScript({.events = events});
  EXPECT_EQ(RunBench(router, {"--requests=3"}).exit, 0);

  events.erase(events.begin() + 3);  // ReasoningFinished
  worker.SetScript({.events = events});
  const BenchRun broken = RunBench(router, {"--requests=3"});
  EXPECT_EQ(broken.exit, 1);
  EXPECT_EQ(broken.report["totals"]["failed"]["requests"], 3) << broken.output;
  EXPECT_THAT(broken.output, HasSubstr("broke the contract of its stream"));

  worker.SetScript({.events = {}, .end = absl::InternalError("a bug")});
  const BenchRun failed = RunBench(router, {"--requests=3"});
  EXPECT_EQ(failed.exit, 1);
  EXPECT_EQ(failed.report["totals"]["failed"]["requests"], 3) << failed.output;

  worker.SetScript({.events = {}, .end = absl::ResourceExhaustedError("full")});
  const BenchRun refused = RunBench(router, {"--requests=3"});
  EXPECT_EQ(refused.exit, 0);
  EXPECT_EQ(refused.report["refusals"], (json{{"RESOURCE_EXHAUSTED", 3}})) << refused.output;
}

TEST(ServeBenchTest, AStreamWithoutAnEndIsAFailure) {
  FakeWorker worker("slow");
  RouterProcess router("slow", worker.address());
  auto events = SmallStream();
  events.resize(3);
  worker.SetScript({.events = events, .stays_open = true});
  const BenchRun run = RunBench(router, {"--requests=2", "--concurrency=2", "--drain_s=0"});
  EXPECT_EQ(run.exit, 1);
  EXPECT_EQ(run.report["totals"]["failed"]["requests"], 2);
  EXPECT_THAT(run.output, HasSubstr("it did not end in time"));
}

TEST(ServeBenchTest, WrongUseEndsInOneLine) {
  Process nobody({kBench, "serve", "--router=127.0.0.1:1"});
  Process wrong({kBench, "serve", "--rate=1", "--concurrency=2"});
  EXPECT_EQ(wrong.Wait(), 78);
  EXPECT_THAT(wrong.error(), HasSubstr("--rate is the open loop"));
  EXPECT_EQ(nobody.Wait(), 1);
  EXPECT_EQ(nobody.error(), "thinkwire-bench: there is no router at 127.0.0.1:1\n");
}

}  // namespace
}  // namespace thinkwire::integration
