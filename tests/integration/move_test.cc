// Streams outlive their workers: real processes are killed, stopped and drained under load, and
// every text is what an undisturbed run gives. THINKWIRE_MOVE_STREAMS and THINKWIRE_MOVE_FAULTS set
// how many, or THINKWIRE_MOVE_SECONDS for how long (tests/bench/move_session.sh).

#include <google/protobuf/text_format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "tests/fakes/fake_worker.h"
#include "tests/integration/memory_growth.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

using Time = std::chrono::steady_clock::time_point;

constexpr int kClients = 8;
constexpr int kWorkers = 3;

int FromEnvironment(const char* name, int otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

// What one stream brought, by output.
struct OutputText {
  std::string reasoning, answer;
  std::vector<std::int32_t> ids;
  int reason = 0;
  bool operator==(const OutputText&) const = default;
};
struct Text {
  std::map<std::int32_t, OutputText> outputs;
  std::string usage;
  bool operator==(const Text&) const = default;
};

struct Stream {
  Text text;
  absl::Status status;
  int moves = 0;
  int inexact = 0;
  std::vector<double> gaps_s;  // from the last event before Moved to the next token
};

// What all of them together brought.
struct Seen {
  int streams = 0;
  int moves = 0;
  std::vector<double> gaps_s;
};

// The output whose event it is.
template <class Event>
OutputText& TakeIds(const Event& event, Text& text) {
  OutputText& output = text.outputs[event.output_index()];
  output.ids.insert(output.ids.end(), event.token_ids().begin(), event.token_ids().end());
  return output;
}

// Whether it brought a token.
bool Take(const v1::GenerateResponse& event, Text& text) {
  if (event.has_reasoning_delta()) {
    TakeIds(event.reasoning_delta(), text).reasoning += event.reasoning_delta().text();
    return !event.reasoning_delta().token_ids().empty();
  }
  if (event.has_answer_delta()) {
    TakeIds(event.answer_delta(), text).answer += event.answer_delta().text();
    return !event.answer_delta().token_ids().empty();
  }
  if (event.has_reasoning_finished()) {
    TakeIds(event.reasoning_finished(), text);
    return !event.reasoning_finished().token_ids().empty();
  }
  if (event.has_finished()) {
    TakeIds(event.finished(), text).reason = event.finished().reason();
    return !event.finished().token_ids().empty();
  }
  if (event.has_completed()) {
    v1::Usage usage = event.completed().usage();
    usage.clear_cached_prompt_tokens();  // which are not the text's
    usage.clear_discarded_tokens();
    text.usage = usage.ShortDebugString();
  }
  return false;
}

// Reads one stream, held to the contract; `progress` counts its events.
Stream Read(v1::ReasoningService::Stub& stub, const v1::GenerateRequest& request,
            std::atomic<std::int64_t>& progress) {
  grpc::ClientContext context;
  const auto reader = stub.Generate(&context, request);
  rpc::StreamContract contract(request);
  Stream stream;
  v1::GenerateResponse event;
  Time last = std::chrono::steady_clock::now();
  bool moving = false;
  while (reader->Read(&event)) {
    ++progress;
    const absl::Status status = contract.Add(event);
    EXPECT_TRUE(status.ok()) << status << event.ShortDebugString();
    const Time now = std::chrono::steady_clock::now();
    if (event.has_moved()) {
      ++stream.moves;
      stream.inexact += event.moved().exact() ? 0 : 1;
      moving = true;
      continue;
    }
    if (Take(event, stream.text) && std::exchange(moving, false)) {
      stream.gaps_s.push_back(std::chrono::duration<double>(now - last).count());
    }
    if (!moving) last = now;
  }
  stream.status = rpc::FromGrpc(reader->Finish());
  if (stream.status.ok()) {
    EXPECT_EQ(contract.End(), absl::OkStatus());
  }
  return stream;
}

// Different kinds of request, with every option that a worker keeps a state for.
std::vector<v1::GenerateRequest> Requests() {
  const char* const kinds[] = {
      "",
      "sampling { temperature: 1 repetition_penalty: 1.2 frequency_penalty: 0.5 }",
      "sampling { logprobs: true top_logprobs: 3 presence_penalty: 1 }",
      "sampling { stop_strings: 'zebra' stop_strings: '777' temperature: 1.5 }",
      "n: 3 sampling { temperature: 1 } thinking { budget_tokens: 90 }",
      // Some 600 tokens, most of them forced.
      "sampling { temperature: 1 } thinking { budget_tokens: 40 } answer_format { json_schema: '"
      R"({\"type\": \"array\", \"minItems\": 30, \"maxItems\": 30, \"items\": {\"type\": \"object\", )"
      R"(\"properties\": {\"sum\": {\"type\": \"integer\"}, \"right\": {\"type\": \"boolean\"}}, )"
      R"(\"required\": [\"sum\", \"right\"], \"additionalProperties\": false}})"
      "' }",
  };
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 16; ++i) {
    v1::GenerateRequest request = Ask(absl::StrCat("What is ", 20 + i, "+48?"), 100 + i);
    EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(kinds[i % 6], &request));
    request.set_ignore_eos(i % 8 < 6 && !request.has_answer_format());
    request.set_max_tokens(i % 8 < 6 ? 600 : 2000);
    request.set_require_resumable(true);
    requests.push_back(request);
  }
  return requests;
}

// The workers of one variant, which die and come back at the same addresses.
class Workers {
 public:
  explicit Workers(const std::vector<std::string>& options) : options_(options) {
    for (int i = 0; i < kWorkers; ++i) workers_.push_back(std::make_unique<WorkerProcess>(options));
  }

  std::vector<std::string> addresses() const {
    std::vector<std::string> addresses;
    for (const auto& worker : workers_) {
      addresses.push_back(absl::StrCat("127.0.0.1:", worker->port()));
    }
    return addresses;
  }
  WorkerProcess& at(std::size_t index) { return *workers_[index]; }

  void Kill(std::size_t index) {
    workers_[index]->process().Signal(SIGKILL);
    workers_[index]->process().Wait();
    StartAgain(index);
  }
  // With nothing left of --drain_timeout_s its streams are handed over at once.
  void Drain(std::size_t index) {
    workers_[index]->process().Signal(SIGTERM);
    EXPECT_EQ(workers_[index]->process().Wait(), 0);
    StartAgain(index);
  }

 private:
  void StartAgain(std::size_t index) {
    const int port = workers_[index]->port();
    workers_[index] = std::make_unique<WorkerProcess>(options_, port);
  }

  const std::vector<std::string> options_;
  std::vector<std::unique_ptr<WorkerProcess>> workers_;
};

class MoveTest : public testing::Test {
 protected:
  MoveTest() : workers_({absl::StrCat("--model=", kTinyModel), "--drain_timeout_s=0"}) {
    router_.emplace("tiny-r1", workers_.addresses());
    client_ = v1::ReasoningService::NewStub(
        grpc::CreateChannel(router_->address(), grpc::InsecureChannelCredentials()));
    EXPECT_TRUE(WaitForLive());
  }

  double NumLive() const {
    return router_->Metric("thinkwire_router_live_workers", "{variant=\"tiny-r1\"}").value_or(-1);
  }
  bool WaitForLive() const {
    return WaitUntil([this] { return NumLive() == kWorkers; });
  }
  template <class Holds>
  static bool WaitUntil(Holds holds) {
    const Time give_up = std::chrono::steady_clock::now() + kPatience;
    while (!holds()) {
      if (std::chrono::steady_clock::now() >= give_up) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  }

  // The streams' texts when nothing happens.
  std::vector<Text> Undisturbed() {
    std::vector<Text> texts;
    std::atomic<std::int64_t> progress = 0;
    for (const v1::GenerateRequest& request : requests_) {
      const Stream stream = Read(*client_, request, progress);
      EXPECT_TRUE(stream.status.ok()) << stream.status;
      EXPECT_EQ(stream.moves, 0);
      texts.push_back(stream.text);
    }
    return texts;
  }

  // Asks so many times, or for so long, each client one after another.
  void Load(int streams, std::chrono::seconds time) {
    const Time end = std::chrono::steady_clock::now() + time;
    const auto is_over = [=](int i) {
      return time.count() > 0 ? std::chrono::steady_clock::now() >= end : i >= streams;
    };
    for (int c = 0; c < kClients; ++c) {
      clients_.emplace_back([this, is_over, c] {
        for (int i; !is_over(i = next_++);) {
          const std::size_t request = static_cast<std::size_t>(i) % requests_.size();
          Check(request, Read(*client_, requests_[request], progress_[c]));
        }
        over_[c] = true;
      });
    }
  }
  // One that has ended is as it would have been if nothing had happened.
  void Check(std::size_t request, const Stream& stream) {
    EXPECT_TRUE(stream.status.ok()) << stream.status;
    EXPECT_TRUE(stream.text == expected_[request]) << "request " << request;
    for (const auto& [output, text] : stream.text.outputs) {
      EXPECT_EQ(text.answer, expected_[request].outputs.at(output).answer) << "output " << output;
    }
    EXPECT_EQ(stream.inexact, 0);
    MutexLock lock(mu_);
    ++seen_.streams;
    seen_.moves += stream.moves;
    seen_.gaps_s.insert(seen_.gaps_s.end(), stream.gaps_s.begin(), stream.gaps_s.end());
  }
  // Every client has come further than a poisonous stream would since the fault before: one that is
  // hit twice is none.
  bool WaitForProgress() {
    std::int64_t before[kClients];
    for (int c = 0; c < kClients; ++c) before[c] = progress_[c];
    return WaitUntil([&] {
      for (int c = 0; c < kClients; ++c) {
        if (!over_[c] && progress_[c] < before[c] + 2 * kPoisonTokens) return false;
      }
      return true;
    });
  }
  bool AllOver() const {
    return std::ranges::all_of(over_, [](const auto& over) { return over.load(); });
  }

  // One fault at a time, of each kind by turns, as long as there are streams: how many there were.
  int Disturb(int faults, std::uint32_t seed) {
    std::mt19937 random(seed);
    int done = 0;
    for (; done < faults && !AllOver(); ++done) {
      EXPECT_TRUE(WaitForProgress());
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 100));
      const std::size_t worker = random() % kWorkers;
      switch (done % 3) {
        case 0:
          workers_.Kill(worker);
          break;
        case 1:
          workers_.Drain(worker);
          break;
        default:
          Freeze(worker);
      }
      EXPECT_TRUE(WaitForLive());
      memory_.push_back(
          {.at = std::chrono::steady_clock::now(), .bytes = router_->process().Memory()});
    }
    return done;
  }
  // Until the router has given it up; then it wakes up, and nobody hears it.
  void Freeze(std::size_t worker) {
    workers_.at(worker).process().Signal(SIGSTOP);
    EXPECT_TRUE(WaitUntil([this] { return NumLive() >= 0 && NumLive() < kWorkers; }));
    EXPECT_TRUE(WaitForProgress());
    workers_.at(worker).process().Signal(SIGCONT);
  }

  void Join() {
    for (std::thread& client : clients_) client.join();
    clients_.clear();
  }

  Workers workers_;
  std::optional<RouterProcess> router_;
  std::unique_ptr<v1::ReasoningService::Stub> client_;  // whom a starved router may keep waiting
  const std::vector<v1::GenerateRequest> requests_ = Requests();
  std::vector<std::thread> clients_;
  std::atomic<int> next_ = 0;
  std::atomic<std::int64_t> progress_[kClients] = {};
  std::atomic<bool> over_[kClients] = {};
  std::vector<Text> expected_;        // by request
  std::vector<MemorySample> memory_;  // the router's, after each fault
  Mutex mu_;
  Seen seen_ ABSL_GUARDED_BY(mu_);
};

void Report(int faults, int streams, int moves, std::vector<double> gaps) {
  std::ranges::sort(gaps);
  const auto quantile = [&](double q) {
    return gaps.empty() ? 0.0 : gaps[static_cast<std::size_t>(q * (gaps.size() - 1))];
  };
  std::printf(
      "%d streams, %d faults, %d moves; from the last event before a loss to the next token: p50 "
      "%.3f s, p99 %.3f s, most %.3f s\n",
      streams, faults, moves, quantile(0.5), quantile(0.99), quantile(1));
}

TEST_F(MoveTest, NoStreamIsLostAndEveryTextIsTheUndisturbedOne) {
  const std::chrono::seconds time(FromEnvironment("THINKWIRE_MOVE_SECONDS", 0));
  const int streams = FromEnvironment("THINKWIRE_MOVE_STREAMS", kSanitized ? 16 : 40);
  const int faults = FromEnvironment("THINKWIRE_MOVE_FAULTS", kSanitized ? 4 : 9);
  expected_ = Undisturbed();
  Load(streams, time);
  const int done = Disturb(faults, static_cast<std::uint32_t>(streams));
  Join();
  MutexLock lock(mu_);
  EXPECT_TRUE(time.count() > 0 || seen_.streams == streams) << seen_.streams;
  EXPECT_GT(seen_.moves, 0);
  Report(done, seen_.streams, seen_.moves, seen_.gaps_s);
  CheckGrowth(memory_);
  EXPECT_TRUE(router_->WaitUntilIdle());
  for (std::size_t i = 0; i < kWorkers; ++i) EXPECT_TRUE(workers_.at(i).WaitUntilIdle()) << i;
}

TEST(ChatTest, APersonSeesOneTextWhoseRouterDies) {
  FakeWorker worker("fake");
  std::vector<v1::GenerateResponse> some = SmallStream();
  some.resize(3);
  worker.SetScript({.events = some, .stays_open = true});
  RouterProcess dying("fake", worker.address());
  RouterProcess other("fake", worker.address());
  Process chat(
      {kChat, "--router", absl::StrCat(dying.address(), ",", other.address()), "What is 1+1?"});
  ASSERT_TRUE(chat.WaitForErrorLine("[fake (")) << chat.error();
  ASSERT_TRUE(worker.WaitForCalls(1));
  worker.SetScript({.events = SmallStream()});
  dying.process().Signal(SIGKILL);
  EXPECT_EQ(chat.Wait(), 0) << chat.error();
  EXPECT_EQ(chat.output(), "2\n");
  const std::string error = chat.error();
  EXPECT_EQ(error.find("So 2."), error.rfind("So 2.")) << error;
  EXPECT_NE(error.find("So 2."), std::string::npos) << error;
  EXPECT_NE(error.find("[3 tokens of reasoning, 2 of answer"), std::string::npos) << error;
  const v1::WorkerGenerateRequest request = worker.last_call().request;
  EXPECT_EQ(request.resume().prompt_tokens(), 3);
  EXPECT_LE(request.resume().outputs_size(), 1) << "it may die before the client had a token";
}

}  // namespace
}  // namespace thinkwire::integration
