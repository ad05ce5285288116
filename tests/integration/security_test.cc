// Router, worker and their clients as processes, with certificates and API keys.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/client_security.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/test_ca.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

using Options = std::vector<std::string>;

// 64 times the letter, and its SHA-256.
std::string KeyOf(char letter) { return std::string(64, letter); }
constexpr char kOfA[] = "sha256:ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb";
constexpr char kOfB[] = "sha256:a0fab1377f49a759b57f63318262ebe89fabfc990e8e93ceac2984561482b9d4";

v1::GenerateRequest Question() {
  v1::GenerateRequest request;
  v1::ChatMessage& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role(v1::ROLE_USER);
  message.set_content("What is 27+48? Think of it as adding 27 apples to 48 apples in a basket.");
  request.mutable_sampling()->set_temperature(0);
  request.set_seed(1);
  return request;
}

class SecurityTest : public testing::Test {
 protected:
  SecurityTest()
      : door_(folder_.Write("door", ca_.Issue())),
        worker_files_(folder_.Write("worker", workers_ca_.Issue({.common_name = "worker"}),
                                    workers_ca_.certificate())),
        router_files_(folder_.Write("router", workers_ca_.Issue({.common_name = "router"}),
                                    workers_ca_.certificate())),
        trusted_(folder_.Write("trusted.crt", ca_.certificate())) {}

  void StartWorker() {
    worker_.emplace(Options{absl::StrCat("--model=", kTinyModel),
                            "--tls_cert=" + worker_files_.certificate,
                            "--tls_key=" + worker_files_.key, "--tls_client_ca=" + worker_files_.ca,
                            "--trusted_peers=127.0.0.1"});
    ASSERT_TRUE(worker_->listening());
  }
  void StartRouter(const Options& more = {}) {
    Options options = {"--tls_cert=" + door_.certificate, "--tls_key=" + door_.key,
                       "--worker_tls_ca=" + router_files_.ca,
                       "--worker_tls_cert=" + router_files_.certificate,
                       "--worker_tls_key=" + router_files_.key};
    options.insert(options.end(), more.begin(), more.end());
    router_.emplace("tiny-r1", absl::StrCat("127.0.0.1:", worker_->port()), options);
  }
  void StartRouterWithKeys() {
    keys_ = folder_.Write("keys", absl::StrCat("search ", kOfA, "\nbatch ", kOfB, "\n"));
    StartRouter({"--api_keys=" + keys_});
  }

  // A new connection each time.
  absl::Status Generate(const std::string& api_key, const std::string& ca = "") {
    auto security = *rpc::MakeClientSecurity({.ca = ca.empty() ? trusted_ : ca}, "", "");
    security.api_key = api_key;
    const auto stub = v1::ReasoningService::NewStub(
        rpc::MakeChannel(router_->address(), rpc::Proxy::kNone, security));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto stream = stub->Generate(&context, Question());
    v1::GenerateResponse event;
    while (stream->Read(&event)) {
      if (event.has_started()) cached_tokens_ = event.started().cached_prompt_tokens();
    }
    return rpc::FromGrpc(stream->Finish());
  }

  // thinkwire-chat's exit code.
  int Chat(const Options& options) {
    Options arguments = {kChat, "--router", router_->address()};
    arguments.insert(arguments.end(), options.begin(), options.end());
    chat_.emplace(arguments);
    return chat_->Wait();
  }

  // Until a worker is live.
  void WaitUntilReady() {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    while (Chat({"--tls_ca", trusted_, "--probe", router_->address()}) != 0) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up) << router_->process().error();
    }
  }

  const TestCa ca_{"ca"};
  const TestCa workers_ca_{"workers"};
  const TlsFolder folder_;
  const TlsFiles door_;
  const TlsFiles worker_files_;
  const TlsFiles router_files_;
  const std::string trusted_;
  std::string keys_;
  std::optional<WorkerProcess> worker_;
  std::optional<RouterProcess> router_;
  std::optional<Process> chat_;
  int cached_tokens_ = -1;
};

TEST_F(SecurityTest, ChatProbeAndBenchReachARouterAndItsWorkerByTls) {
  StartWorker();
  StartRouter();
  WaitUntilReady();
  EXPECT_EQ(Chat({"--tls_ca", trusted_, "--temperature=0", "What is 27+48?"}), 0) << chat_->error();
  EXPECT_TRUE(absl::StrContains(chat_->output(), "75")) << chat_->output();
  EXPECT_EQ(Chat({"--tls_ca", trusted_, "--list"}), 0) << chat_->error();
  EXPECT_EQ(Chat({"--tls_ca", router_files_.ca, "--list"}), 3) << "another CA";
  EXPECT_EQ(Chat({"--list"}), 3) << "no TLS";
  Process bench({kBench, "serve", "--router", router_->address(), "--tls_ca", trusted_,
                 "--requests=2", "--concurrency=2", "--max_tokens=8"});
  EXPECT_EQ(bench.Wait(), 0) << bench.error();
  // The worker takes whoever has its CA's certificate, and nobody else.
  const std::string worker = absl::StrCat("127.0.0.1:", worker_->port());
  EXPECT_EQ(Chat({"--tls_ca", worker_files_.ca, "--tls_cert", router_files_.certificate,
                  "--tls_key", router_files_.key, "--probe", worker}),
            0);
  EXPECT_EQ(Chat({"--tls_ca", worker_files_.ca, "--probe", worker}), 1);
  EXPECT_TRUE(worker_->process().WaitForErrorLine("\"TLS handshake failed\""));
}

TEST_F(SecurityTest, ACertificateIsRotatedWithoutARestart) {
  StartWorker();
  StartRouter();
  WaitUntilReady();
  const TestCa next("next");
  const std::string trusts_next = folder_.Write("next.crt", next.certificate());
  folder_.Write("door", next.Issue());
  EXPECT_TRUE(router_->process().WaitForErrorLine("\"certificates reloaded\""));
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!Generate("", trusts_next).ok()) ASSERT_LT(std::chrono::steady_clock::now(), give_up);
  EXPECT_EQ(Generate("").code(), absl::StatusCode::kUnavailable);
}

// The worker comes up anew under another CA, as when all certificates of a deployment change.
TEST_F(SecurityTest, ARouterFollowsItsWorkersToAnotherCa) {
  StartWorker();
  StartRouter();
  WaitUntilReady();
  const TestCa next("next");
  folder_.Write("worker", next.Issue(), next.certificate());
  folder_.Write("router", next.Issue(), next.certificate());
  EXPECT_TRUE(worker_->process().WaitForErrorLine("\"certificates reloaded\""));
  EXPECT_TRUE(router_->process().WaitForErrorLine("\"certificates reloaded\""));
  const int port = worker_->port();
  worker_.reset();
  worker_.emplace(
      Options{absl::StrCat("--model=", kTinyModel), "--tls_cert=" + worker_files_.certificate,
              "--tls_key=" + worker_files_.key, "--tls_client_ca=" + worker_files_.ca},
      port);
  WaitUntilReady();
  EXPECT_TRUE(Generate("").ok());
}

TEST_F(SecurityTest, AKeyOpensTheDoorAndItsTenantIsNamed) {
  StartWorker();
  StartRouterWithKeys();
  WaitUntilReady();  // health asks for no key
  EXPECT_TRUE(Generate(KeyOf('a')).ok());
  const auto record = router_->process().WaitForErrorLine("\"request ended\"");
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(nlohmann::json::parse(*record)["tenant"], "search");
  EXPECT_EQ(
      router_->Metric("thinkwire_router_tenant_requests_total", "{code=\"OK\",tenant=\"search\"}"),
      1.0);
  EXPECT_GT(router_->Metric("thinkwire_router_tenant_tokens_total",
                            "{kind=\"answer\",tenant=\"search\"}"),
            0.0);
  for (const auto& [key, reason] : {std::pair<std::string, const char*>{"", "API_KEY_MISSING"},
                                    {KeyOf('c'), "API_KEY_UNKNOWN"}}) {
    const absl::Status status = Generate(key);
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
    EXPECT_EQ(rpc::ErrorReason(status), reason);
    EXPECT_EQ(router_->Metric("thinkwire_router_unauthenticated_calls_total",
                              absl::StrCat("{reason=\"", reason, "\"}")),
              1.0);
  }
  EXPECT_EQ(Chat({"--tls_ca", trusted_, "--list"}), 1);
  const std::string key = folder_.Write("key", KeyOf('b') + "\n");
  EXPECT_EQ(Chat({"--tls_ca", trusted_, "--api_key_file", key, "--list"}), 0) << chat_->error();
  const std::string page = HttpGet(router_->metrics_port(), "/metrics");
  for (const std::string& text : {router_->process().error(), worker_->process().error(), page}) {
    for (const char letter : {'a', 'b', 'c'}) {
      EXPECT_FALSE(absl::StrContains(text, std::string(32, letter)));
    }
  }
}

TEST_F(SecurityTest, TenantsShareNoCachedPrompt) {
  StartWorker();
  StartRouterWithKeys();
  WaitUntilReady();
  EXPECT_TRUE(Generate(KeyOf('a')).ok());
  EXPECT_TRUE(Generate(KeyOf('a')).ok());
  EXPECT_GT(cached_tokens_, 0) << "a tenant's own";
  EXPECT_TRUE(Generate(KeyOf('b')).ok());
  EXPECT_EQ(cached_tokens_, 0);
}

TEST_F(SecurityTest, AKeyIsTakenAwayWithoutARestart) {
  StartWorker();
  StartRouterWithKeys();
  WaitUntilReady();
  EXPECT_TRUE(Generate(KeyOf('a')).ok());
  folder_.Write("keys", absl::StrCat("batch ", kOfB));
  EXPECT_TRUE(router_->process().WaitForErrorLine("\"API keys reloaded\""));
  EXPECT_EQ(Generate(KeyOf('a')).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_TRUE(Generate(KeyOf('b')).ok());
}

TEST_F(SecurityTest, WhatIsWrongIsSaidAtTheStart) {
  const std::string config =
      folder_.Write("router.yaml", "variants: [{name: a, workers: ['127.0.0.1:1']}]\n");
  const std::string wrong_key = folder_.Write("other", ca_.Issue()).key;
  const std::string bad_keys = folder_.Write("bad", "search 12345\n");
  const auto refusal = [&](const Options& options, const Options& program) {
    Options arguments = program;
    arguments.insert(arguments.end(), options.begin(), options.end());
    Process process(arguments);
    EXPECT_EQ(process.Wait(), 78);
    return process.error();
  };
  const Options router = {kRouter, "--config", config, "--check_config"};
  const Options worker = {kWorker, "--model", kTinyModel, "--check_config"};
  const Options mismatch = {"--tls_cert=" + door_.certificate, "--tls_key=" + wrong_key};
  for (const Options& program : {router, worker}) {
    EXPECT_TRUE(absl::StrContains(
        refusal(mismatch, program),
        absl::StrCat(wrong_key, ": is not the key of the certificate in ", door_.certificate)));
  }
  EXPECT_TRUE(absl::StrContains(refusal({"--worker_tls_ca=/none"}, router), "/none: "));
  EXPECT_TRUE(absl::StrContains(refusal({"--api_keys=" + bad_keys}, router), bad_keys + ":1: "));
  EXPECT_TRUE(absl::StrContains(refusal({"--api_keys=" + bad_keys, "--share_prefixes"}, router),
                                "exclude each other"));
  EXPECT_TRUE(absl::StrContains(refusal({"--worker_tls_name=x"}, router), "--worker_tls_ca"));
}

TEST_F(SecurityTest, WithTlsOtherMachinesMayReachThem) {
  const std::string config =
      folder_.Write("router.yaml", "variants: [{name: a, workers: ['127.0.0.1:1']}]\n");
  const Options router = {kRouter, "--config", config};
  const Options worker = {kWorker, "--model", kTinyModel};
  for (Options program : {router, worker}) {
    program.insert(program.end(), {"--listen=0.0.0.0:0", "--tls_cert=" + door_.certificate,
                                   "--tls_key=" + door_.key, "--check_config"});
    Process process(program);
    EXPECT_EQ(process.Wait(), 0) << process.error();
  }
}

}  // namespace
}  // namespace thinkwire::integration
