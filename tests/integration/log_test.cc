// Logs on bad days: what clients and operators write stays in one JSON line, and a log that cannot
// be written holds up nobody.

#include "common/log.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::integration {
namespace {

std::string Model() { return absl::StrCat("--model=", kTinyModel); }

// Every line of a log is one bounded JSON object; none holds any of `secrets`.
void ExpectCleanLog(const std::string& log, const std::vector<std::string>& secrets) {
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LT(line.size(), kMaxLogRecordBytes);
    const auto record = nlohmann::json::parse(line, nullptr, false);
    EXPECT_TRUE(record.is_object()) << line;
    EXPECT_TRUE(record.contains("time") && record.contains("level")) << line;
    for (const char c : line) EXPECT_TRUE(c >= ' ' && c <= '~') << line;
    for (const std::string& secret : secrets) {
      EXPECT_EQ(line.find(secret), std::string::npos) << line;
    }
  }
}

TEST(LogTest, NeitherPromptNorOutputNorForgedLinesAreLogged) {
  // Among the options that are logged.
  const std::string folder = testing::TempDir() + "tiny\r\n{\"level\":\"error\"}\x1b[2J\"}";
  std::filesystem::remove(folder);
  std::filesystem::create_directory_symlink(std::filesystem::absolute(kTinyModel), folder);
  WorkerProcess worker({absl::StrCat("--model=", folder), "--served_model_name=tiny"});
  std::filesystem::remove(folder);
  ASSERT_TRUE(worker.listening());
  const Generation all = worker.Generate(AskGreedily("What is 27181+14142?"));
  ASSERT_TRUE(all.status.ok()) << all.status;
  v1::GenerateRequest wrong = Ask("What is 27181+14142?", 1);
  wrong.set_max_tokens(1 << 30);
  EXPECT_FALSE(worker.Generate(wrong).status.ok());
  worker.process().Signal(SIGTERM);
  EXPECT_EQ(worker.process().Wait(), 0);
  const std::string log = worker.process().error();
  EXPECT_NE(log.find("request ended"), std::string::npos);
  EXPECT_NE(log.find("request refused"), std::string::npos);
  EXPECT_NE(log.find("{\\\"level\\\":\\\"error\\\"}"), std::string::npos) << log;
  ExpectCleanLog(log, {"27181", "41323"});
}

TEST(LogTest, HostileWordsOfAClientStayInTheirLine) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  const auto ask_for = [&](const std::string& variant, const std::string& trace) {
    v1::GenerateRequest request = Ask("What is 27181+14142?", 1);
    request.set_variant(variant);
    grpc::ClientContext context;
    context.AddMetadata("traceparent", trace);
    const auto stream = router.stub().Generate(&context, request);
    v1::GenerateResponse event;
    EXPECT_FALSE(stream->Read(&event));
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  };
  ask_for("a\r\n{\"level\":\"error\"}\x1b[31m\"}", "00-\"}{\"forged\":true},{\"a\":\"");
  ask_for(std::string(1 << 20, 'v'), std::string(1000, 'w'));
  // A header of a megabyte is gRPC's to refuse, and may cost its sender the connection.
  grpc::ChannelArguments own_connection;
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto offender = v1::ReasoningService::NewStub(grpc::CreateCustomChannel(
      router.address(), grpc::InsecureChannelCredentials(), own_connection));
  grpc::ClientContext context;
  context.AddMetadata("traceparent", std::string(1 << 20, 't'));
  EXPECT_FALSE(offender->Generate(&context, Ask("What is 27181+14142?", 1))->Finish().ok());
  for (const char* const value : {"a\x01g", "\x7f", "\u00e9"}) {
    RawHttp2 raw({.port = router.port()});  // gRPC's own client aborts on these
    EXPECT_TRUE(raw.ReadUntilOver(raw.Call("/thinkwire.v1.ReasoningService/Generate",
                                           Ask("What is 27181+14142?", 1).SerializeAsString(),
                                           {{"traceparent", value}})));
  }
  ask_for("b", "the last");  // who comes later is served, and logged, as before
  ASSERT_TRUE(router.process().WaitForErrorLine("the last"));
  ExpectCleanLog(router.process().error(), {"27181", "vvvv", "wwww", "tttt"});
}

TEST(LogTest, OneClientsRefusalsHideNobodysRecords) {
  RouterProcess router("tiny-r1", "127.0.0.1:9");
  v1::GenerateRequest question = Ask("What is 27181+14142?", 1);
  question.set_variant("unknown");
  const auto ask = [&](RawHttp2& client, const std::string& trace) {
    return client.Call("/thinkwire.v1.ReasoningService/Generate", question.SerializeAsString(),
                       {{"traceparent", trace}});
  };
  constexpr int kAtOnce = 500;
  RawHttp2 flood({.port = router.port(), .source = "127.0.0.2"});
  for (int asked = 0; asked < 4 * kRequestLogRate.burst; asked += kAtOnce) {
    std::vector<std::uint32_t> calls;
    for (int i = 0; i < kAtOnce; ++i) calls.push_back(ask(flood, "flood"));
    for (const std::uint32_t call : calls) ASSERT_TRUE(flood.ReadUntilOver(call));
  }
  RawHttp2 honest({.port = router.port(), .source = "127.0.0.3"});
  constexpr int kHonest = 100;
  std::vector<std::uint32_t> calls;
  for (int i = 0; i < kHonest; ++i) calls.push_back(ask(honest, absl::StrCat("honest ", i, ".")));
  for (const std::uint32_t call : calls) ASSERT_TRUE(honest.ReadUntilOver(call));
  for (int i = 0; i < kHonest; ++i) {
    EXPECT_TRUE(router.process().WaitForErrorLine(absl::StrCat("honest ", i, "."))) << i;
  }
}

TEST(LogTest, AClosedLogPipeIsCountedAndServingGoesOn) {
  // grep ends at its first match, and the worker's stderr has no reader any more.
  const std::string script = absl::StrCat(
      "exec ", kWorker, " ", Model(), " --listen=127.0.0.1:0 --metrics_listen=127.0.0.1:0",
      " 2> >(exec grep -m 1 --line-buffered '\"listening\"' >&2)");
  Process process({"/bin/bash", "-c", script});
  const auto line = process.WaitForErrorLine("\"listening\"");
  ASSERT_TRUE(line) << process.error();
  const auto record = nlohmann::json::parse(*line);
  const int metrics_port = record["metrics_port"];
  const int port = record["port"];
  const auto stub = v1::WorkerService::NewStub(rpc::MakeChannel(absl::StrCat("127.0.0.1:", port)));
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (MetricAt(metrics_port, "thinkwire_worker_dropped_log_records_total") == 0.0 &&
         std::chrono::steady_clock::now() < give_up) {
    const Generation all = Generate(*stub, AskGreedily("What is 27+48?"));
    ASSERT_TRUE(all.status.ok()) << all.status;
  }
  const Generation all = Generate(*stub, AskGreedily("What is 27+48?"));
  EXPECT_TRUE(all.status.ok()) << all.status;
  EXPECT_GT(MetricAt(metrics_port, "thinkwire_worker_dropped_log_records_total").value_or(0), 0);
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
}

}  // namespace
}  // namespace thinkwire::integration
