// A router that is cut off from a worker, in both directions and in one, while another worker of
// the variant is there.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/stream_contract.h"
#include "tests/integration/cut_wire.h"
#include "tests/integration/process.h"
#include "tests/integration/programs.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::integration {
namespace {

using std::chrono::steady_clock;

enum class Cut { kBoth, kToWorker, kFromWorker };

struct Stream {
  grpc::Status status;
  std::string text;
  std::vector<std::int32_t> ids;
  v1::Started started;
  std::vector<v1::Moved> moves;
  steady_clock::time_point moved_at;
};

template <class Delta>
void Take(const Delta& delta, Stream& stream) {
  stream.text += delta.text();
  stream.ids.insert(stream.ids.end(), delta.token_ids().begin(), delta.token_ids().end());
}

template <class Holds>
bool WaitUntil(Holds holds) {
  const auto give_up = steady_clock::now() + kPatience;
  while (!holds()) {
    if (steady_clock::now() >= give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

class PartitionTest : public testing::TestWithParam<Cut> {
 protected:
  void SetUp() override {
    std::string why;
    wire_ = CutWire::Lay(why);
    if (!wire_) GTEST_SKIP() << why;
    StartFar();
    near_.emplace(std::vector<std::string>{absl::StrCat("--model=", kTinyModel)});
    ASSERT_TRUE(near_->listening());
    router_.emplace("tiny-r1", std::vector<std::string>{far_address_,
                                                        absl::StrCat("127.0.0.1:", near_->port())});
    ASSERT_TRUE(WaitForLive(2));
  }

  void StartFar() {
    std::vector<std::string> command = wire_->far();
    command.insert(command.end(),
                   {kWorker, absl::StrCat("--model=", kTinyModel),
                    absl::StrCat("--listen=", wire_->far_address(), ":0"), "--insecure_listen",
                    "--metrics_listen=127.0.0.1:0", "--cpu_threads=1"});
    far_ = std::make_unique<Process>(command);
    const auto line = far_->WaitForErrorLine("\"message\":\"listening\"");
    ASSERT_TRUE(line) << far_->error();
    const int port = nlohmann::json::parse(*line)["port"];
    far_address_ = absl::StrCat(wire_->far_address(), ":", port);
  }

  bool WaitForLive(double number) {
    return WaitUntil([&] {
      return router_->Metric("thinkwire_router_live_workers", "{variant=\"tiny-r1\"}") == number;
    });
  }
  // As the far worker says it, once it is reached again.
  bool WaitUntilFarIsIdle() {
    const auto stub = v1::WorkerService::NewStub(
        grpc::CreateChannel(far_address_, grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    const auto reader = stub->WatchStatus(&context, {});
    for (v1::WatchStatusResponse status; reader->Read(&status);) {
      if (status.running() + status.queued() > 0) continue;
      if (status.free_kv_blocks() == status.total_kv_blocks()) return true;
    }
    return false;
  }

  static v1::GenerateRequest Question() {
    v1::GenerateRequest request = Ask("What is 27+48?", 7);
    request.set_ignore_eos(true);
    request.set_max_tokens(3000);
    request.set_require_resumable(true);
    return request;
  }
  // Reads a stream to its end, and has `act` done once some ids are there.
  template <class Act>
  Stream Read(Act act) {
    const v1::GenerateRequest request = Question();
    grpc::ClientContext context;
    const auto reader = router_->stub().Generate(&context, request);
    rpc::StreamContract contract(request);
    Stream stream;
    bool acted = false;
    for (v1::GenerateResponse event; reader->Read(&event);) {
      const absl::Status status = contract.Add(event);
      EXPECT_TRUE(status.ok()) << status << event.ShortDebugString();
      if (event.has_started()) stream.started = event.started();
      if (event.has_moved()) {
        stream.moves.push_back(event.moved());
        stream.moved_at = steady_clock::now();
      }
      Take(event.reasoning_delta(), stream);
      Take(event.answer_delta(), stream);
      if (acted || stream.ids.size() < 50) continue;
      acted = true;
      act();
    }
    stream.status = reader->Finish();
    if (stream.status.ok()) {
      EXPECT_EQ(contract.End(), absl::OkStatus());
    }
    return stream;
  }
  void MakeCut() {
    if (GetParam() != Cut::kFromWorker) wire_->CutToFar();
    if (GetParam() != Cut::kToWorker) wire_->CutFromFar();
  }

  std::unique_ptr<CutWire> wire_;
  std::unique_ptr<Process> far_;
  std::string far_address_;
  std::optional<WorkerProcess> near_;
  std::optional<RouterProcess> router_;
};

TEST_P(PartitionTest, TheStreamGoesOnAndTheWorkerIsBackAfterIt) {
  steady_clock::time_point cut_at;
  const Stream stream = Read([&] {
    MakeCut();
    cut_at = steady_clock::now();
  });
  ASSERT_TRUE(stream.status.ok()) << stream.status.error_message();
  EXPECT_EQ(stream.started.worker(), far_address_);
  ASSERT_EQ(stream.moves.size(), 1U);
  EXPECT_EQ(stream.moves[0].worker(), absl::StrCat("127.0.0.1:", near_->port()));
  EXPECT_TRUE(stream.moves[0].exact());
  // A connection without keepalive would stand still for a quarter of an hour.
  EXPECT_LT(stream.moved_at - cut_at, std::chrono::seconds(20));
  RecordProperty("cut_to_moved_ms",
                 std::to_string((stream.moved_at - cut_at) / std::chrono::milliseconds(1)));
  EXPECT_TRUE(WaitForLive(1));

  const Stream undisturbed = Read([] {});
  EXPECT_EQ(undisturbed.started.worker(), absl::StrCat("127.0.0.1:", near_->port()));
  EXPECT_EQ(stream.ids, undisturbed.ids);
  EXPECT_EQ(stream.text, undisturbed.text);

  const auto healed_at = steady_clock::now();
  wire_->Heal();
  EXPECT_TRUE(WaitForLive(2));
  RecordProperty("heal_to_live_ms",
                 std::to_string((steady_clock::now() - healed_at) / std::chrono::milliseconds(1)));
  EXPECT_TRUE(WaitUntilFarIsIdle());
  EXPECT_TRUE(near_->WaitUntilIdle());
  EXPECT_TRUE(router_->WaitUntilIdle());
}

INSTANTIATE_TEST_SUITE_P(Cuts, PartitionTest,
                         testing::Values(Cut::kBoth, Cut::kToWorker, Cut::kFromWorker),
                         [](const auto& info) {
                           switch (info.param) {
                             case Cut::kBoth:
                               return "Both";
                             case Cut::kToWorker:
                               return "ToTheWorker";
                             default:
                               return "FromTheWorker";
                           }
                         });

}  // namespace
}  // namespace thinkwire::integration
