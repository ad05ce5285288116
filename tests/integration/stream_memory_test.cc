// What a router holds of a stream.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "tests/fakes/fake_worker.h"
#include "tests/integration/router_process.h"
#include "tests/sanitized.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {
namespace {

constexpr std::int32_t kTokens = 512;  // of each stream
// What a stream may take: 40 KB, the calls of gRPC 1.51 to its client and its worker among them,
// and what is kept for another worker, 4 bytes a token.
constexpr double kMostBytes = 40'000 + 4 * kTokens;
// And a connection of its own: what gRPC has of one beside its calls, above all.
constexpr double kMostBytesOfConnection = 20'000;

// Started, and an output that thinks on and on.
std::vector<v1::GenerateResponse> Events() {
  std::vector<v1::GenerateResponse> events = SmallStream();
  v1::GenerateResponse started = events[1];
  v1::GenerateResponse delta = events[2];
  started.mutable_started()->mutable_limits()->set_max_tokens(kTokens);
  delta.mutable_reasoning_delta()->clear_token_ids();
  delta.mutable_reasoning_delta()->set_text("So many more tokens. ");
  for (int i = 0; i < 16; ++i) delta.mutable_reasoning_delta()->add_token_ids(10 + i);
  events.assign(kTokens / 16 + 1, delta);
  events.front() = started;
  return events;
}

// Streams that stay open, each read as far as its worker speaks.
class StreamMemoryTest : public testing::Test {
 protected:
  StreamMemoryTest() {
    worker_.SetStatus([](auto& status) {
      status.set_max_num_seqs(4096);
      status.set_max_queue(4096);
    });
    router_.emplace("fake", worker_.address());
    Finish();
    worker_.SetScript({.events = Events(), .stays_open = true});
  }
  ~StreamMemoryTest() override {
    for (Call& call : calls_) call.context.TryCancel();
    for (Call& call : calls_) call.reader->Finish();
  }

  v1::ReasoningService::Stub& OwnConnection() {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return *stubs_.emplace_back(v1::ReasoningService::NewStub(
        grpc::CreateCustomChannel(router_->address(), grpc::InsecureChannelCredentials(), own)));
  }
  void Open(int streams, bool on_own_connections = false) {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("What is 1+1?");
    request.set_max_tokens(kTokens);
    for (int i = 0; i < streams; ++i) {
      Call& call = calls_.emplace_back();
      v1::ReasoningService::Stub& stub = on_own_connections ? OwnConnection() : router_->stub();
      call.reader = stub.Generate(&call.context, request);
      v1::GenerateResponse event;
      // Deltas may come as one.
      for (int tokens = 0; tokens < kTokens; tokens += event.reasoning_delta().token_ids_size()) {
        ASSERT_TRUE(call.reader->Read(&event)) << tokens;
      }
    }
  }
  // One that ends, from which gRPC learns what a call takes.
  void Finish() {
    worker_.SetScript({.events = SmallStream()});
    grpc::ClientContext context;
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("What is 1+1?");
    request.set_max_tokens(1000);
    const auto reader = router_->stub().Generate(&context, request);
    v1::GenerateResponse event;
    while (reader->Read(&event)) {
    }
    EXPECT_TRUE(reader->Finish().ok());
  }
  double Memory() { return static_cast<double>(router_->process().Memory()); }

 private:
  struct Call {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
  };
  FakeWorker worker_{"fake"};
  std::optional<RouterProcess> router_;
  std::deque<std::unique_ptr<v1::ReasoningService::Stub>> stubs_;
  std::deque<Call> calls_;
};

TEST_F(StreamMemoryTest, AStreamTakesLittleMoreThanItsTwoCalls) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator has memory of its own";
  Open(200);
  const double before = Memory();
  constexpr int kStreams = 400;
  Open(kStreams);
  const double each = (Memory() - before) / kStreams;
  std::printf("a stream of %d tokens takes %.0f bytes of the router's memory\n", kTokens, each);
  EXPECT_LT(each, kMostBytes);
}

TEST_F(StreamMemoryTest, AConnectionTakesLessThanHalfOfAStream) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's allocator has memory of its own";
  Open(100, true);
  const double before = Memory();
  constexpr int kStreams = 200;
  Open(kStreams, true);
  const double each = (Memory() - before) / kStreams;
  std::printf("with a connection of its own it takes %.0f bytes\n", each);
  EXPECT_LT(each, kMostBytes + kMostBytesOfConnection);
}

}  // namespace
}  // namespace thinkwire::integration
