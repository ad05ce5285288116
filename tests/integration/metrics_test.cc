// Metrics that tell the truth: a known load through router and worker, and then every counter on
// both /metrics pages against what the client itself counted.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/trace_context.h"
#include "tests/integration/process.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

// A sample's name with its labels, and its value.
using Samples = std::map<std::string, double>;

constexpr char kVariant[] = "tiny-r1";
constexpr char kTrace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

// What a client knows of a request of its own.
struct Seen {
  absl::Status status;
  std::string request_id;  // empty if it never started
  bool queued = false;
  std::int32_t prompt = 0;
  std::int32_t cached_prompt = 0;
  std::int32_t reasoning = 0;
  std::int32_t answer = 0;
  std::int32_t discarded = 0;
  std::string finish;         // "", "end", "length", "stop_string"
  std::string reasoning_end;  // "", "model", "budget", "length", "stop"
  std::int32_t forced = 0;

  bool started() const { return !request_id.empty(); }
  std::string phase() const { return answer > 0 ? "answer" : reasoning > 0 ? "reasoning" : "none"; }
};

std::string FinishName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_END:
      return "end";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    case v1::FINISH_REASON_STOP_STRING:
      return "stop_string";
    default:
      return "another";
  }
}

std::string CauseName(v1::ReasoningFinishCause cause) {
  switch (cause) {
    case v1::REASONING_FINISH_CAUSE_MODEL:
      return "model";
    case v1::REASONING_FINISH_CAUSE_BUDGET:
      return "budget";
    case v1::REASONING_FINISH_CAUSE_LENGTH:
      return "length";
    case v1::REASONING_FINISH_CAUSE_STOP:
      return "stop";
    default:
      return "another";
  }
}

void Take(const v1::GenerateResponse& event, Seen* seen) {
  if (event.has_queued()) seen->queued = true;
  if (event.has_started()) {
    seen->request_id = event.started().request_id();
    seen->prompt = event.started().prompt_tokens();
    seen->cached_prompt = event.started().cached_prompt_tokens();
  }
  seen->reasoning += event.reasoning_delta().token_ids_size();
  seen->reasoning += event.reasoning_finished().token_ids_size();
  if (event.has_reasoning_finished()) {
    seen->reasoning_end = CauseName(event.reasoning_finished().cause());
  }
  if (event.has_completed()) seen->forced = event.completed().usage().forced_tokens();
  seen->answer += event.answer_delta().token_ids_size() + event.finished().token_ids_size();
  if (event.has_finished()) seen->finish = FinishName(event.finished().reason());
  if (event.has_completed()) seen->discarded = event.completed().usage().discarded_tokens();
}

// One Generate call, read event by event.
class Call {
 public:
  Call(RouterProcess& router, const v1::GenerateRequest& request,
       std::chrono::milliseconds timeout = kPatience) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
    context_.AddMetadata("traceparent", kTrace);
    stream_ = router.stub().Generate(&context_, request);
  }

  // Reads until `enough` says so; false if the stream ends first.
  bool ReadUntil(const std::function<bool(const Seen&)>& enough) {
    v1::GenerateResponse event;
    while (!enough(seen_)) {
      if (!stream_->Read(&event)) return false;
      Take(event, &seen_);
    }
    return true;
  }

  void Cancel() { context_.TryCancel(); }

  Seen End() {
    ReadUntil([](const Seen&) { return false; });
    seen_.status = rpc::FromGrpc(stream_->Finish());
    return seen_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> stream_;
  Seen seen_;
};

v1::GenerateRequest Endless() {
  v1::GenerateRequest request = Ask("What is 1+1?", 1);
  request.set_ignore_eos(true);
  return request;
}

// The process's last word on a request, which it logs.
nlohmann::json LogOf(Process& process, const std::string& request_id) {
  const auto line = process.WaitForErrorLine(absl::StrCat("\"request_id\":\"", request_id));
  EXPECT_TRUE(line) << request_id;
  return line ? nlohmann::json::parse(*line) : nlohmann::json();
}

// What a cut request's stream had, which its reader need not have got in full.
Seen WithLoggedTokens(const Seen& seen, const nlohmann::json& log) {
  Seen all = seen;
  all.reasoning = log["reasoning_tokens"];
  all.answer = log["answer_tokens"];
  EXPECT_GE(all.reasoning, seen.reasoning);
  EXPECT_GE(all.answer, seen.answer);
  return all;
}

// What a page must show. `label` is what all of the page's stream metrics carry, "" or "a=\"b\"".
class Ledger {
 public:
  Ledger(std::string prefix, std::string label)
      : prefix_(std::move(prefix)), label_(std::move(label)) {}

  // `waited`: it was accepted, whether or not it started.
  void Add(const Seen& seen, bool waited) {
    if (waited) Count("queue_seconds_count", "", 1);
    if (!seen.started()) return;
    Count("request_duration_seconds_count", "", 1);
    if (seen.reasoning + seen.answer > 0) Count("time_to_output_seconds_count", "", 1);
    Count("request_prompt_tokens_count", "", 1);
    Count("request_prompt_tokens_sum", "", seen.prompt);
    Count("tokens_total", "kind=\"prompt\"", seen.prompt);
    Count("tokens_total", "kind=\"cached_prompt\"", seen.cached_prompt);
    Count("tokens_total", "kind=\"discarded\"", seen.discarded);
    AddPhase("reasoning", seen.reasoning);
    AddPhase("answer", seen.answer);
  }

  void Count(const std::string& name, const std::string& labels, double value) {
    std::string all = labels;
    if (!label_.empty()) absl::StrAppend(&all, all.empty() ? "" : ",", label_);
    Set(absl::StrCat(name, all.empty() ? "" : absl::StrCat("{", all, "}")), value);
  }
  // As Count, with all of the labels given.
  void Set(const std::string& sample, double value) { samples_[prefix_ + sample] += value; }

  const Samples& samples() const { return samples_; }

 private:
  void AddPhase(const std::string& phase, std::int32_t tokens) {
    Count("tokens_total", absl::StrCat("kind=\"", phase, "\""), tokens);
    if (tokens == 0) return;
    const std::string label = absl::StrCat("phase=\"", phase, "\"");
    Count("time_to_first_token_seconds_count", label, 1);
    Count("request_output_tokens_count", label, 1);
    Count("request_output_tokens_sum", label, tokens);
    if (tokens > 1) Count("time_per_output_token_seconds_count", label, 1);
  }

  const std::string prefix_;
  const std::string label_;
  Samples samples_;
};

// Every counter, and every count and token sum of a histogram, that `page` shows of ours.
Samples CountersOf(const std::string& page, const std::string& prefix) {
  Samples counters;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find_first_of("{ "));
    if (!absl::StartsWith(name, prefix)) continue;
    if (!absl::EndsWith(name, "_total") && !absl::EndsWith(name, "_count") &&
        !absl::EndsWith(name, "_tokens_sum")) {
      continue;
    }
    const std::size_t space = line.rfind(' ');
    counters[WithoutModel(line.substr(0, space))] = std::stod(line.substr(space + 1));
  }
  return counters;
}

double SumOf(const Samples& samples, const std::string& name) {
  double sum = 0;
  for (const auto& [sample, value] : samples) {
    if (sample.substr(0, sample.find('{')) == name) sum += value;
  }
  return sum;
}

// The counters once `requests` have been counted, which comes last.
Samples Settled(int port, const std::string& prefix, double requests) {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    const Samples counters = CountersOf(HttpGet(port, "/metrics"), prefix);
    const bool settled = SumOf(counters, prefix + "requests_total") >= requests;
    if (settled || std::chrono::steady_clock::now() >= give_up) return counters;
    std::this_thread::yield();
  }
}

// What is not expected must be zero.
void ExpectEqual(const Samples& shown, const Samples& expected) {
  for (const auto& [sample, value] : expected) {
    const auto found = shown.find(sample);
    EXPECT_EQ(found == shown.end() ? 0 : found->second, value) << sample;
  }
  for (const auto& [sample, value] : shown) {
    EXPECT_TRUE(value == 0 || expected.contains(sample)) << sample << " is " << value;
  }
}

class MetricsTest : public testing::Test {
 protected:
  // Room for one request, and for one that waits, as the router gives it no more.
  WorkerProcess worker_{
      {absl::StrCat("--model=", kTinyModel), "--max_num_seqs=1", "--max_queue=2"}};
  RouterProcess router_{kVariant, absl::StrCat("127.0.0.1:", worker_.port())};
  Ledger at_worker_{"thinkwire_worker_", ""};
  Ledger at_router_{"thinkwire_router_", absl::StrCat("variant=\"", kVariant, "\"")};

  // Books a request that both processes had. `waited` as Ledger::Add.
  void Book(const Seen& seen, const std::string& code, const std::string& outcome, bool waited) {
    Seen by_worker = seen;
    Seen by_router = seen;
    if (seen.started()) {
      const nlohmann::json worker_log = LogOf(worker_.process(), seen.request_id);
      const nlohmann::json router_log = LogOf(router_.process(), seen.request_id);
      EXPECT_EQ(router_log["traceparent"], kTrace);
      const auto at_worker = ContinueTrace(worker_log["traceparent"].get<std::string>());
      ASSERT_TRUE(at_worker) << worker_log;
      EXPECT_EQ(at_worker->trace_id, ContinueTrace(kTrace)->trace_id);
      const auto engine = worker_.process().WaitForErrorLine("thinkwire.engine");
      EXPECT_TRUE(engine && engine->find("\"parentSpanId\":") != std::string::npos);
      const auto router =
          router_.process().WaitForErrorLine(absl::StrCat("\"spanId\":\"", at_worker->parent_id));
      EXPECT_TRUE(router && router->find("thinkwire.router") != std::string::npos)
          << "the engine's parent is the router's span";
      if (!seen.status.ok()) {
        by_worker = WithLoggedTokens(seen, worker_log);
        by_router = WithLoggedTokens(seen, router_log);
      }
    }
    at_worker_.Add(by_worker, waited);
    at_router_.Add(by_router, waited);
    if (seen.started()) {  // and was never preempted
      at_worker_.Set("prefix_queries_total", 1);
      at_worker_.Set("prefix_hits_total", seen.cached_prompt > 0 ? 1 : 0);
      at_worker_.Set("prefix_query_tokens_total", seen.prompt);
      at_worker_.Set("prefix_hit_tokens_total", seen.cached_prompt);
      // Each is too short for its worker to have some of it.
      at_router_.Set(absl::StrCat("prefixes_total{use=\"unknown\",variant=\"", kVariant, "\"}"), 1);
    }
    if (!seen.finish.empty()) {
      at_worker_.Set(absl::StrCat("finished_outputs_total{reason=\"", seen.finish, "\"}"), 1);
    }
    if (!seen.reasoning_end.empty()) {
      at_worker_.Set(absl::StrCat("reasoning_ends_total{cause=\"", seen.reasoning_end, "\"}"), 1);
    }
    at_worker_.Set("forced_tokens_total", seen.forced);
    at_worker_.Set(
        absl::StrCat("requests_total{outcome=\"", outcome, "\",phase=\"", by_worker.phase(), "\"}"),
        1);
    at_router_.Set(absl::StrCat("decisions_total{cause=\"only\",variant=\"", kVariant, "\"}"), 1);
    BookAtRouter(code, by_router.phase(), kVariant);
  }

  void BookAtRouter(const std::string& code, const std::string& phase, const std::string& variant) {
    at_router_.Set(absl::StrCat("requests_total{code=\"", code, "\",phase=\"", phase,
                                "\",variant=\"", variant, "\"}"),
                   1);
  }

  void Complete(const v1::GenerateRequest& request, const std::string& finish) {
    const Seen seen = Call(router_, request).End();
    ASSERT_TRUE(seen.status.ok()) << seen.status;
    EXPECT_EQ(seen.finish, finish);
    Book(seen, "OK", "completed", true);
    discarded_ += seen.discarded;
  }

  void CompletedOnes() {
    for (const char* question :
         {"What is 27+48?", "Count from 3 to 9.", "Which is more, 5 or 7?"}) {
      Complete(AskGreedily(question), "end");
    }
    v1::GenerateRequest brief = AskGreedily("What is 27+48?");
    brief.mutable_thinking()->set_budget_tokens(3);
    Complete(brief, "end");
    v1::GenerateRequest cut = AskGreedily("What is 812-345?");
    cut.set_max_tokens(9);
    Complete(cut, "length");
    // How far the engine is beyond the stop when it is told is a matter of luck.
    v1::GenerateRequest stopped = AskGreedily("What is 1234+4321?");
    stopped.mutable_reasoning_sampling()->add_stop_strings("on");
    for (int i = 0; i < 200 && discarded_ == 0; ++i) Complete(stopped, "stop_string");
    EXPECT_GT(discarded_, 0);
  }

  void RefusedOnes() {
    v1::GenerateRequest hot = Ask("What is 1+1?", 1);
    hot.mutable_answer_sampling()->set_temperature(9);
    EXPECT_EQ(Call(router_, hot).End().status.code(), absl::StatusCode::kInvalidArgument);
    BookAtRouter("INVALID_ARGUMENT", "none", "");  // the worker never hears of it

    v1::GenerateRequest boundless = Ask("What is 1+1?", 1);
    boundless.set_max_tokens(1 << 30);
    const Seen seen = Call(router_, boundless).End();
    EXPECT_EQ(seen.status.code(), absl::StatusCode::kInvalidArgument);
    Book(seen, "INVALID_ARGUMENT", "invalid", false);
  }

  // The worker never hears of it.
  void WaitsInTheRouter() {
    Call third(router_, Endless());
    ASSERT_TRUE(third.ReadUntil([](const Seen& seen) { return seen.queued; }));
    EXPECT_EQ(router_.Metric("thinkwire_router_waiting_requests",
                             absl::StrCat("{variant=\"", kVariant, "\"}")),
              1);
    third.Cancel();
    EXPECT_FALSE(third.End().started());
    BookAtRouter("CANCELLED", "none", kVariant);
    at_router_.Set(
        absl::StrCat("wait_seconds_count{priority=\"normal\",variant=\"", kVariant, "\"}"), 1);
  }

  void QueuesAndCancels() {
    Call running(router_, Endless());
    ASSERT_TRUE(running.ReadUntil([](const Seen& seen) { return seen.started(); }));
    Call waiting(router_, Endless());
    ASSERT_TRUE(waiting.ReadUntil([](const Seen& seen) { return seen.queued; }));
    WaitsInTheRouter();

    waiting.Cancel();
    const Seen never = waiting.End();
    EXPECT_FALSE(never.started());
    Book(never, "CANCELLED", "cancelled", true);
    // Else the worker may hear of the other first, and begin with this one.
    Settled(worker_.metrics_port(), "thinkwire_worker_",
            SumOf(at_worker_.samples(), "thinkwire_worker_requests_total"));
    running.ReadUntil([](const Seen& seen) { return seen.reasoning >= 5; });
    running.Cancel();
    Book(running.End(), "CANCELLED", "cancelled", true);
    // The two are cancelled in any order, and the next request wants the place of both.
    EXPECT_TRUE(worker_.WaitUntilIdle());
  }

  void Deadlines() {
    const Seen seen = Call(router_, Endless(), std::chrono::milliseconds(200)).End();
    EXPECT_EQ(seen.status.code(), absl::StatusCode::kDeadlineExceeded) << seen.status;
    EXPECT_TRUE(seen.started());
    Book(seen, "DEADLINE_EXCEEDED", "deadline", true);
  }

 private:
  std::int32_t discarded_ = 0;
};

TEST_F(MetricsTest, EveryCounterIsWhatTheClientCounted) {
  ASSERT_TRUE(worker_.listening());
  CompletedOnes();
  RefusedOnes();
  QueuesAndCancels();
  Deadlines();

  Samples worker = Settled(worker_.metrics_port(), "thinkwire_worker_",
                           SumOf(at_worker_.samples(), "thinkwire_worker_requests_total"));
  EXPECT_GT(worker["thinkwire_worker_steps_total"], 0);
  worker.erase("thinkwire_worker_steps_total");  // no client can know
  ExpectEqual(worker, at_worker_.samples());
  ExpectEqual(Settled(router_.metrics_port(), "thinkwire_router_",
                      SumOf(at_router_.samples(), "thinkwire_router_requests_total")),
              at_router_.samples());
  EXPECT_TRUE(worker_.WaitUntilIdle());
  EXPECT_TRUE(router_.WaitUntilIdle());
}

TEST_F(MetricsTest, PagesSayWhatRunsAndWhatItTakes) {
  ASSERT_TRUE(worker_.listening());
  for (const int port : {worker_.metrics_port(), router_.metrics_port()}) {
    for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                             "process_open_fds", "process_max_fds", "process_start_time_seconds"}) {
      EXPECT_GT(MetricAt(port, name).value_or(0), 0) << name;
    }
  }
  const std::string page = HttpGet(worker_.metrics_port(), "/metrics");
  EXPECT_NE(page.find("thinkwire_worker_build_info{device=\"cpu"), std::string::npos);
  EXPECT_NE(page.find("model=\"tiny-r1\",version=\""), std::string::npos);
  for (const char* name : {"queued_requests", "steps_total", "queue_seconds_count"}) {
    EXPECT_NE(page.find(absl::StrCat("thinkwire_worker_", name, "{model=\"tiny-r1\"} ")),
              std::string::npos)
        << name;
  }
  EXPECT_NE(page.find("thinkwire_worker_requests_total{model=\"tiny-r1\",outcome="),
            std::string::npos);
  EXPECT_EQ(worker_.Metric("thinkwire_worker_max_queued_requests"), 2.0);
  EXPECT_EQ(worker_.Metric("thinkwire_worker_max_running_requests"), 1.0);
}

}  // namespace
}  // namespace thinkwire::integration
