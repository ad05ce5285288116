// A router's workers that hang or stand still, while others of the variant serve.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

using std::chrono::steady_clock;

// A hang ends a worker's service in the router within five seconds; the machine may be busy.
constexpr std::chrono::seconds kLimit{5};
constexpr std::chrono::seconds kSlack{2};

std::string AddressOf(const WorkerProcess& worker) {
  return absl::StrCat("127.0.0.1:", worker.port());
}

// Its own end is far away, so that the router is who notices.
WorkerProcess Worker(std::vector<std::string> options = {},
                     const std::vector<std::string>& program = {}) {
  options.push_back(absl::StrCat("--model=", kTinyModel));
  options.push_back("--step_timeout_s=600");
  return WorkerProcess(options, 0, program);
}

bool WaitForLive(const RouterProcess& router, double number) {
  const auto give_up = steady_clock::now() + kPatience;
  while (steady_clock::now() < give_up) {
    if (router.Metric("thinkwire_router_live_workers", "{variant=\"tiny-r1\"}") == number)
      return true;
    std::this_thread::yield();
  }
  return false;
}

// Reads a stream of the router to its end. When its last event came.
steady_clock::time_point ReadAll(RouterProcess& router, int max_tokens, v1::Started& started) {
  v1::GenerateRequest request = Ask("What is 27+48?", 1);
  request.set_ignore_eos(true);
  request.set_max_tokens(max_tokens);
  grpc::ClientContext context;
  const auto reader = router.stub().Generate(&context, request);
  steady_clock::time_point last;
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
    last = steady_clock::now();
    if (event.has_started()) started = event.started();
  }
  reader->Finish();
  return last;
}

class HungWorkerTest : public testing::TestWithParam<const char*> {};

TEST_P(HungWorkerTest, IsOutAlthoughItsStatusSpeaks) {
  const std::string fault = GetParam();
  const bool of_rank = fault.starts_with("stuck_rank");
  WorkerProcess hung = Worker({absl::StrCat("--tensor_parallel_size=", of_rank ? 2 : 1)},
                              {kWorkerWithFaults, absl::StrCat("--fault=", fault)});
  WorkerProcess well = Worker();
  ASSERT_TRUE(hung.listening() && well.listening());
  RouterProcess router("tiny-r1", {AddressOf(hung), AddressOf(well)});
  ASSERT_TRUE(WaitForLive(router, 2));
  // A thread of its own reads on, as the stream ends when the router gives the worker up.
  steady_clock::time_point hung_at;
  v1::Started first;
  std::thread client([&] { hung_at = ReadAll(router, 200, first); });
  EXPECT_TRUE(WaitForLive(router, 1));
  const steady_clock::time_point out_at = steady_clock::now();
  client.join();
  EXPECT_EQ(first.worker(), AddressOf(hung));
  if (hung_at < out_at) {  // else the stream has gone on at the other one
    EXPECT_LT(out_at - hung_at, kLimit + kSlack);
    RecordProperty("hang_to_out_ms",
                   std::to_string((out_at - hung_at) / std::chrono::milliseconds(1)));
  }
  EXPECT_EQ(router.Metric("thinkwire_router_ejected_workers", "{variant=\"tiny-r1\"}"), 1);
  for (int i = 0; i < 5; ++i) {
    v1::Started started;
    ReadAll(router, 4, started);
    EXPECT_EQ(started.worker(), AddressOf(well));
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, HungWorkerTest,
                         testing::Values("stuck_engine:20", "stuck_rank:20:1"),
                         [](const auto& info) { return info.index == 0 ? "Engine" : "Rank"; });

TEST(EjectionTest, AStoppedWorkerIsBackOnceItHasAnsweredAProbe) {
  WorkerProcess stopped = Worker();
  WorkerProcess well = Worker();
  ASSERT_TRUE(stopped.listening() && well.listening());
  RouterProcess router("tiny-r1", {AddressOf(stopped), AddressOf(well)});
  ASSERT_TRUE(WaitForLive(router, 2));
  ASSERT_EQ(stopped.Metric("thinkwire_worker_generated_tokens_total").value_or(0), 0);
  stopped.process().Signal(SIGSTOP);
  const auto stopped_at = steady_clock::now();
  EXPECT_TRUE(WaitForLive(router, 1));
  EXPECT_LT(steady_clock::now() - stopped_at, kLimit + kSlack);
  v1::Started started;
  ReadAll(router, 4, started);
  EXPECT_EQ(started.worker(), AddressOf(well));
  stopped.process().Signal(SIGCONT);
  const auto goes_on_at = steady_clock::now();
  EXPECT_TRUE(WaitForLive(router, 2));
  RecordProperty("end_to_back_ms",
                 std::to_string((steady_clock::now() - goes_on_at) / std::chrono::milliseconds(1)));
  // One request was the client's: what the stopped worker has done, the router has asked.
  EXPECT_EQ(router.Metric("thinkwire_router_requests_total",
                          "{code=\"OK\",phase=\"reasoning\",variant=\"tiny-r1\"}"),
            1);
  EXPECT_TRUE(stopped.WaitUntilIdle());
}

}  // namespace
}  // namespace thinkwire::integration
