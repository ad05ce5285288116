#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "thinkwire/v1/worker.grpc.pb.h"

// A server whose one method hands its calls to the test.
namespace thinkwire::rpc {

inline constexpr std::size_t kCapacity = 4;
inline constexpr char kWatch[] = "/thinkwire.v1.WorkerService/WatchStatus";

class TestCall final : public ServerCall {
 public:
  TestCall() : ServerCall(kCapacity) {}
  std::promise<std::string> message;
  std::promise<absl::Status> refused;
  std::promise<void> drained, cancelled, ended;
  std::atomic<int> num_hooks = 0;  // of those that come once

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    ++num_hooks;
    grpc::Slice slice;
    EXPECT_TRUE(bytes.TrySingleSlice(&slice).ok() || bytes.DumpToSingleSlice(&slice).ok());
    message.set_value(std::string(slice.begin(), slice.end()));
  }
  void OnRefused(const absl::Status& status) override {
    ++num_hooks;
    refused.set_value(status);
  }
  void OnDrained() override {
    if (!was_drained_.exchange(true)) drained.set_value();
  }
  void OnCancelled() override { cancelled.set_value(); }
  void OnEnded() override { ended.set_value(); }
  std::atomic<bool> was_drained_ = false;
};

// Hands the first WatchStatus call to the test.
class CallService final : public RawService {
 public:
  CallService() {
    AddMethod(v1::WorkerService::service_full_name(), "WatchStatus",
              [this](const grpc::CallbackServerContext& /*context*/) {
                auto call = std::make_shared<TestCall>();
                if (!made_.exchange(true)) first.set_value(call);
                return call;
              });
  }
  std::promise<std::shared_ptr<TestCall>> first;

 private:
  std::atomic<bool> made_ = false;
};

inline v1::WatchStatusResponse Message(int number, std::size_t padding = 0) {
  v1::WatchStatusResponse message;
  message.set_queued(number);
  message.set_fingerprint(std::string(padding, 'x'));
  return message;
}

// A call of a client that may do anything.
class RawServerCallTest : public testing::Test {
 protected:
  void Start(const RawHttp2::Options& client = {}) {
    options_.listen = "127.0.0.1:0";
    options_.services = {&service_};
    server_ = *GrpcServer::Start(options_);
    client_.emplace(WithPort(client));
  }
  RawHttp2::Options WithPort(RawHttp2::Options options) const {
    options.port = server_->port();
    return options;
  }
  std::shared_ptr<TestCall> TheCall() { return service_.first.get_future().get(); }
  // How the server has ended it.
  absl::Status End(std::uint32_t call) {
    EXPECT_TRUE(client_->ReadUntilOver(call));
    return client_->stream(call).Status();
  }
  void ExpectEnd(std::uint32_t call, absl::StatusCode code, const std::string& reason) {
    const absl::Status status = End(call);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ErrorReason(status), reason) << status;
  }

  GrpcServerOptions options_;
  CallService service_;
  std::unique_ptr<GrpcServer> server_;
  std::optional<RawHttp2> client_;
};

}  // namespace thinkwire::rpc
