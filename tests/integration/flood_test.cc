// Floods of requests as large as can be sent: memory stays bounded, everyone gets the status that
// is due, and a small request among them its answer.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/request_bytes.h"
#include "common/rpc/status_details.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"

namespace thinkwire::integration {
namespace {

constexpr std::size_t kMaxMessage = kMaxMessageBytes;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr int kConnections = 8;

// A connection that has all the patience in the world.
std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments own_connection;
  own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), own_connection);
}

// Calls that send large prompts, over several connections.
class Flood {
 public:
  explicit Flood(const std::string& address) {
    for (int i = 0; i < kConnections; ++i) {
      stubs_.push_back(std::make_unique<grpc::GenericStub>(Connect(address)));
    }
  }

  // Sends a request of `bytes` bytes `times` times and waits for none of it. Such calls end without
  // a message, so that a stream can be called like a function.
  void Send(std::size_t bytes, int times) {
    v1::GenerateRequest request;
    const std::string_view words = "What is 12+34? ";
    std::string& text = *request.mutable_prompt()->mutable_text();
    while (text.size() + 2 * words.size() <= bytes) text += words;
    request.set_variant("tiny-r1");
    text.append(bytes - request.ByteSizeLong(), ' ');
    ASSERT_EQ(request.ByteSizeLong(), bytes);
    const grpc::Slice slice(request.SerializeAsString());
    for (int i = 0; i < times; ++i) {
      Call& call = calls_.emplace_back();
      call.request = grpc::ByteBuffer(&slice, 1);
      call.context.set_deadline(std::chrono::system_clock::now() + kPatience);
      stubs_[calls_.size() % kConnections]->UnaryCall(
          &call.context, "/thinkwire.v1.ReasoningService/Generate", {}, &call.request,
          &call.response, [&call](grpc::Status status) { call.end.set_value(std::move(status)); });
    }
  }

  bool Over() {
    return std::ranges::all_of(calls_, [](Call& call) {
      return call.status.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
  }

  // How many ended with each code and reason. Waits for all.
  std::map<std::string, int> Ends() {
    std::map<std::string, int> ends;
    for (Call& call : calls_) {
      const absl::Status status = rpc::FromGrpc(call.status.get());
      ++ends[absl::StrCat(absl::StatusCodeToString(status.code()), " ", rpc::ErrorReason(status))];
    }
    return ends;
  }

 private:
  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
    std::promise<grpc::Status> end;
    std::future<grpc::Status> status = end.get_future();
  };
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::deque<Call> calls_;
};

absl::Status AskSmall(v1::ReasoningService::Stub& router) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = router.Generate(&context, AskGreedily("What is 27+48?"));
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  return rpc::FromGrpc(reader->Finish());
}

TEST(FloodTest, MemoryIsBoundedAndSmallRequestsAreServed) {
  if (kSanitized) GTEST_SKIP() << "sanitizers keep freed memory, and tokenise too slowly for this";
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  const auto small = v1::ReasoningService::NewStub(Connect(router.address()));
  ASSERT_TRUE(AskSmall(*small).ok());
  const std::size_t router_before = router.process().PeakMemory();
  const std::size_t worker_before = worker.process().PeakMemory();

  // Large ones that the model has no room for, and some that are too large for gRPC.
  constexpr int kLarge = 160;
  constexpr int kTooLarge = 32;
  Flood flood(router.address());
  flood.Send(kMaxMessage, kLarge);
  flood.Send(kMaxMessage + 1, kTooLarge);
  do {
    const absl::Status status = AskSmall(*small);
    EXPECT_TRUE(status.ok()) << status;
  } while (!flood.Over());

  std::map<std::string, int> ends = flood.Ends();
  const int read = ends["INVALID_ARGUMENT INVALID_FIELD"];
  const int shut_out = ends["RESOURCE_EXHAUSTED TOO_MANY_REQUEST_BYTES"];
  EXPECT_EQ(ends["RESOURCE_EXHAUSTED MESSAGE_TOO_LARGE"], kTooLarge);
  // Where others wait, so long a prompt is not expected to be answered in time.
  const int too_late = ends["RESOURCE_EXHAUSTED DEADLINE_TOO_NEAR"];
  EXPECT_EQ(read + shut_out + too_late, kLarge) << testing::PrintToString(ends);
  // One client's share. That many are shut out where they arrive faster than they are read.
  EXPECT_GE(read + too_late,
            static_cast<int>(rpc::RequestBytes::kMaxLargeBytes / kMaxMessage * 8 / 9));

  EXPECT_TRUE(AskSmall(*small).ok());
  EXPECT_TRUE(worker.WaitUntilIdle());
  EXPECT_TRUE(router.WaitUntilIdle());
  const std::size_t router_grew = router.process().PeakMemory() - router_before;
  const std::size_t worker_grew = worker.process().PeakMemory() - worker_before;
  // At the router all of it may arrive at once, and what is in hand is there as gRPC's bytes, as a
  // message and on its way to the worker. The worker gets no more than that, as gRPC's bytes and,
  // in the one of its two text threads that reads long prompts, as a message and as token ids of 4
  // bytes for every byte or more.
  const std::size_t kArriving = (kLarge + kTooLarge) * kMaxMessage;
  EXPECT_LT(router_grew, kArriving + 2 * rpc::RequestBytes::kMaxLargeBytes + 32 * kMiB);
  EXPECT_LT(worker_grew, 2 * rpc::RequestBytes::kMaxLargeBytes + 16 * kMaxMessage);
}

}  // namespace
}  // namespace thinkwire::integration
