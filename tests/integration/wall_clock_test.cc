// The wall clock of router and worker jumps by hours, and nothing that is measured or limited in
// time takes notice.

#include "tests/integration/wall_clock.h"

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/rpc/status_details.h"
#include "tests/common/rpc/dial.h"
#include "tests/integration/process.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::vector<std::string> kModel = {absl::StrCat("--model=", kTinyModel)};

// Far shorter than a jump, and far longer than a test.
constexpr seconds kLong{600};

v1::GenerateRequest Long(int max_tokens) {
  v1::GenerateRequest request = Ask("What is 27+48?", 1);
  request.set_ignore_eos(true);
  request.set_max_tokens(max_tokens);
  return request;
}

// One Generate call through the router; the logs know it by its name.
class Stream {
 public:
  Stream(const std::string& name, RouterProcess& router, const v1::GenerateRequest& request,
         std::optional<milliseconds> timeout)
      : name_(name) {
    context_.AddMetadata("traceparent", name);
    if (timeout) context_.set_deadline(std::chrono::system_clock::now() + *timeout);
    reader_ = router.stub().Generate(&context_, request);
  }

  // Reads until so many tokens have come in all; false if the stream ends first.
  bool ReadTokens(int tokens) {
    v1::GenerateResponse event;
    while (tokens_ < tokens) {
      if (!reader_->Read(&event)) return false;
      tokens_ += event.reasoning_delta().token_ids_size();
      tokens_ += event.reasoning_finished().token_ids_size();
      tokens_ += event.answer_delta().token_ids_size() + event.finished().token_ids_size();
    }
    return true;
  }

  void Cancel() { context_.TryCancel(); }

  absl::Status End() {
    while (ReadTokens(tokens_ + 1)) {
    }
    return rpc::FromGrpc(reader_->Finish());
  }

  int tokens() const { return tokens_; }
  const std::string& name() const { return name_; }

 private:
  const std::string name_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader_;
  int tokens_ = 0;
};

class WallClockTest : public testing::Test {
 protected:
  // What a process says of a request's end.
  static nlohmann::json LogOf(Process& process, const Stream& stream) {
    const auto line =
        process.WaitForErrorLine(absl::StrCat("\"traceparent\":\"", stream.name(), "\""));
    EXPECT_TRUE(line) << process.error();
    return line ? nlohmann::json::parse(*line) : nlohmann::json();
  }

  // Both say how it ended, and that it took no hour.
  void ExpectEnd(const Stream& stream, const std::string& code, const std::string& outcome) {
    const nlohmann::json by_router = LogOf(router_.process(), stream);
    const nlohmann::json by_worker = LogOf(worker_->process(), stream);
    if (by_router.is_null() || by_worker.is_null()) return;
    EXPECT_EQ(by_router["code"], code) << by_router;
    EXPECT_EQ(by_worker["outcome"], outcome) << by_worker;
    for (const nlohmann::json& log : {by_router, by_worker}) {
      EXPECT_GE(log["total_s"], 0) << log;
      EXPECT_LT(log["total_s"], kLong.count()) << log;
    }
  }

  // The clock that a process's logs are written by is ahead of this one's by about `by`.
  static void ExpectAhead(const nlohmann::json& log, hours by) {
    absl::Time time;
    std::string error;
    ASSERT_TRUE(absl::ParseTime(absl::RFC3339_full, std::string(log["time"]), &time, &error))
        << log;
    EXPECT_LT(absl::AbsDuration(time - absl::Now() - absl::FromChrono(by)), absl::FromChrono(kLong))
        << log;
  }

  void ExpectSaneSums(const std::string& name, const std::string& router_labels,
                      const std::string& worker_labels) {
    const auto at_router = router_.Metric("thinkwire_router_" + name, router_labels);
    const auto at_worker = worker_->Metric("thinkwire_worker_" + name, worker_labels);
    for (const auto& sum : {at_router, at_worker}) {
      ASSERT_TRUE(sum.has_value()) << name;
      EXPECT_GE(*sum, 0) << name;
      EXPECT_LT(*sum, kLong.count()) << name;
    }
  }

  bool AwaitLive(double workers) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (router_.Metric("thinkwire_router_live_workers", "{variant=\"tiny-r1\"}") != workers) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      std::this_thread::yield();
    }
    return true;
  }

  WallClock clock_;
  std::unique_ptr<WorkerProcess> worker_ = std::make_unique<WorkerProcess>(kModel);
  RouterProcess router_{"tiny-r1", absl::StrCat("127.0.0.1:", worker_->port())};
};

TEST_F(WallClockTest, JumpsChangeNoDeadlineNoTimeoutAndNoMetric) {
  ASSERT_TRUE(worker_->listening());
  constexpr int kTokens = 400;
  Stream endless("endless", router_, Long(kTokens), std::nullopt);
  Stream limited("limited", router_, Long(kTokens), kLong);
  Stream left("left", router_, Long(4000), kLong);
  for (Stream* stream : {&endless, &limited, &left}) ASSERT_TRUE(stream->ReadTokens(20));

  clock_.Jump(hours(1));
  for (Stream* stream : {&endless, &limited, &left}) ASSERT_TRUE(stream->ReadTokens(40));
  // Before any stream ends: once the router knows the worker's pace, it may refuse this one.
  Stream cut("cut", router_, Long(4000), seconds(1));
  EXPECT_TRUE(cut.ReadTokens(1));
  left.Cancel();  // before its deadline, which the wall clock has left behind
  EXPECT_EQ(left.End().code(), absl::StatusCode::kCancelled);
  ExpectEnd(left, "CANCELLED", "cancelled");
  ExpectAhead(LogOf(router_.process(), left), hours(1));
  ExpectAhead(LogOf(worker_->process(), left), hours(1));
  clock_.Jump(hours(-2));
  EXPECT_EQ(cut.End().code(), absl::StatusCode::kDeadlineExceeded);
  ExpectEnd(cut, "DEADLINE_EXCEEDED", "deadline");
  ExpectAhead(LogOf(router_.process(), cut), hours(-1));
  ExpectAhead(LogOf(worker_->process(), cut), hours(-1));
  for (Stream* stream : {&endless, &limited}) {
    const absl::Status status = stream->End();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(stream->tokens(), kTokens);
    ExpectEnd(*stream, "OK", "completed");
  }

  Stream later("later", router_, AskGreedily("What is 27+48?"), kPatience);
  EXPECT_TRUE(later.End().ok());
  ExpectEnd(later, "OK", "completed");
  Stream cut_later("cut later", router_, Long(4000), seconds(1));
  EXPECT_EQ(cut_later.End().code(), absl::StatusCode::kDeadlineExceeded);
  ExpectEnd(cut_later, "DEADLINE_EXCEEDED", "deadline");

  EXPECT_TRUE(worker_->WaitUntilIdle());
  const std::string variant = "variant=\"tiny-r1\"";
  for (const char* name : {"queue_seconds_sum", "request_duration_seconds_sum"}) {
    ExpectSaneSums(name, absl::StrCat("{", variant, "}"), "");
  }
  for (const char* name :
       {"time_to_first_token_seconds_sum", "time_per_output_token_seconds_sum"}) {
    ExpectSaneSums(name, absl::StrCat("{phase=\"reasoning\",", variant, "}"),
                   "{phase=\"reasoning\"}");
  }
}

TEST_F(WallClockTest, ARestartedWorkerIsKnownAtOnceAfterAStepBack) {
  ASSERT_TRUE(worker_->listening());
  ASSERT_TRUE(AwaitLive(1));
  const int port = worker_->port();
  worker_->process().Signal(SIGKILL);
  ASSERT_TRUE(AwaitLive(0));
  // gRPC waits by now before it connects again: until a time that the step puts off for an hour.
  std::this_thread::sleep_for(milliseconds(500));
  clock_.Jump(hours(-1));
  worker_ = std::make_unique<WorkerProcess>(kModel, port);
  ASSERT_TRUE(worker_->listening());
  EXPECT_TRUE(AwaitLive(1)) << router_.process().error();
}

TEST_F(WallClockTest, AConnectionThatNeverSpeaksHttp2IsEndedThoughTheClockIsSetBack) {
  ASSERT_TRUE(worker_->listening());
  const rpc::FileDescriptor to_router = rpc::Dial(router_.port());
  const rpc::FileDescriptor to_worker = rpc::Dial(worker_->port());
  std::this_thread::sleep_for(milliseconds(500));  // gRPC waits for a word of theirs by now
  clock_.Jump(hours(-1));
  for (const rpc::FileDescriptor* silent : {&to_router, &to_worker}) {
    pollfd end{.fd = silent->get(), .events = POLLRDHUP, .revents = 0};
    EXPECT_EQ(poll(&end, 1, static_cast<int>(milliseconds(kPatience).count())), 1);
  }
}

}  // namespace
}  // namespace thinkwire::integration
