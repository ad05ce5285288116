#include "tests/integration/worker_process.h"

#include <arpa/inet.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/integration/programs.h"

namespace thinkwire::integration {
namespace {

template <class Event>
void TakeTokens(const Event& event, Generation* all) {
  all->ids.insert(all->ids.end(), event.token_ids().begin(), event.token_ids().end());
  for (const v1::TokenLogprob& logprob : event.logprobs()) {
    all->logprobs.push_back(logprob.logprob());
  }
}

void TakeEvent(const v1::GenerateResponse& event, Generation* all) {
  const char kind = "?QSrRaFMC"[event.event_case()];
  if (kind != 'Q' && (all->order.empty() || all->order.back() != kind)) all->order += kind;
  switch (event.event_case()) {
    case v1::GenerateResponse::kStarted:
      all->started = event.started();
      break;
    case v1::GenerateResponse::kReasoningDelta:
      all->reasoning += event.reasoning_delta().text();
      TakeTokens(event.reasoning_delta(), all);
      break;
    case v1::GenerateResponse::kReasoningFinished:
      TakeTokens(event.reasoning_finished(), all);
      break;
    case v1::GenerateResponse::kAnswerDelta:
      all->answer += event.answer_delta().text();
      TakeTokens(event.answer_delta(), all);
      break;
    case v1::GenerateResponse::kFinished:
      all->finished = event.finished();
      TakeTokens(event.finished(), all);
      break;
    case v1::GenerateResponse::kCompleted:
      all->completed = event.completed();
      break;
    default:
      break;
  }
}

}  // namespace

WorkerProcess::WorkerProcess(const std::vector<std::string>& options, int port,
                             const std::vector<std::string>& program) {
  std::vector<std::string> arguments = program;
  if (arguments.empty()) arguments = {kWorker};
  const auto is_listen = [](const std::string& option) { return option.starts_with("--listen="); };
  if (std::ranges::none_of(options, is_listen)) {
    arguments.push_back(absl::StrCat("--listen=127.0.0.1:", port));
  }
  arguments.insert(arguments.end(), {"--metrics_listen=127.0.0.1:0", "--cpu_threads=2"});
  arguments.insert(arguments.end(), options.begin(), options.end());
  process_ = std::make_unique<Process>(arguments);
  const auto line = process_->WaitForErrorLine("\"message\":\"listening\"");
  EXPECT_TRUE(line) << process_->error();
  if (!line) return;
  const auto record = nlohmann::json::parse(*line);
  port_ = record["port"];
  metrics_port_ = record["metrics_port"];
  stub_ = v1::WorkerService::NewStub(grpc::CreateChannel("127.0.0.1:" + std::to_string(port_),
                                                         grpc::InsecureChannelCredentials()));
}

Generation WorkerProcess::Generate(
    const v1::GenerateRequest& request, std::optional<std::chrono::milliseconds> timeout,
    const std::function<bool(const v1::WorkerGenerateResponse&)>& goes_on) {
  return integration::Generate(*stub_, request, timeout, goes_on);
}

Generation Generate(v1::WorkerService::Stub& stub, const v1::GenerateRequest& request,
                    std::optional<std::chrono::milliseconds> timeout,
                    const std::function<bool(const v1::WorkerGenerateResponse&)>& goes_on) {
  v1::WorkerGenerateRequest wrapped;
  *wrapped.mutable_request() = request;
  wrapped.set_request_id("integration");
  wrapped.set_attempt(1);
  grpc::ClientContext context;
  if (timeout) context.set_deadline(std::chrono::system_clock::now() + *timeout);
  auto stream = stub.Generate(&context, wrapped);
  Generation all;
  v1::WorkerGenerateResponse response;
  for (std::int64_t seq = 0; stream->Read(&response);) {
    if (response.ByteSizeLong() == 0) continue;  // the prompt is still to be read
    EXPECT_EQ(response.seq(), seq);
    EXPECT_EQ(response.attempt(), 1);
    EXPECT_EQ(response.has_prompt_ids(), seq == 0);
    if (seq == 0) {
      all.prompt_ids.assign(response.prompt_ids().ids().begin(), response.prompt_ids().ids().end());
    }
    ++seq;
    if (response.has_event()) TakeEvent(response.event(), &all);
    if (goes_on && !goes_on(response)) context.TryCancel();
  }
  all.status = rpc::FromGrpc(stream->Finish());
  return all;
}

std::optional<double> WorkerProcess::Metric(const std::string& name, const std::string& labels) {
  return MetricAt(metrics_port_, name, labels);
}

bool WorkerProcess::WaitForCounter(const std::string& name, double least) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < give_up) {
    if (Metric(name).value_or(0) >= least) return true;
    std::this_thread::yield();
  }
  return false;
}

bool WorkerProcess::WaitUntilIdle() {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < give_up) {
    if (Metric("thinkwire_worker_queued_requests") == 0.0 &&
        Metric("thinkwire_worker_running_requests") == 0.0 &&
        Metric("thinkwire_worker_kv_blocks", "{state=\"referenced\"}") == 0.0) {
      return true;
    }
    std::this_thread::yield();
  }
  return false;
}

v1::GenerateRequest Ask(const std::string& question, std::uint64_t seed) {
  v1::GenerateRequest request;
  v1::ChatMessage& message = *request.mutable_prompt()->mutable_chat()->add_messages();
  message.set_role(v1::ROLE_USER);
  message.set_content(question);
  request.set_seed(seed);
  return request;
}

v1::GenerateRequest AskGreedily(const std::string& question) {
  v1::GenerateRequest request = Ask(question, 0);
  request.mutable_reasoning_sampling()->set_temperature(0);
  request.mutable_answer_sampling()->set_temperature(0);
  return request;
}

std::string WithoutModel(std::string sample) {
  std::size_t begin = sample.find("model=\"");
  if (begin == std::string::npos) return sample;
  std::size_t end = sample.find('"', begin + 7) + 1;
  if (sample[end] == ',') ++end;
  if (sample[end] == '}' && sample[begin - 1] == ',') --begin;
  sample.erase(begin, end - begin);
  const std::size_t empty = sample.find("{}");
  return empty == std::string::npos ? sample : sample.erase(empty, 2);
}

std::optional<double> MetricAt(int port, const std::string& name, const std::string& labels) {
  std::istringstream lines(HttpGet(port, "/metrics"));
  const std::string key = name + labels + " ";
  for (std::string line; std::getline(lines, line);) {
    const std::string sample = WithoutModel(line);
    if (sample.starts_with(key)) return std::stod(sample.substr(key.size()));
  }
  return std::nullopt;
}

std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request =
        "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    std::array<char, 4096> buffer{};
    for (ssize_t n; (n = read(fd, buffer.data(), buffer.size())) > 0;) {
      answer.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  close(fd);
  const std::size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

}  // namespace thinkwire::integration
