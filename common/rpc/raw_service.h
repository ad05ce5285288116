#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/support/byte_buffer.h>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/rpc/open_calls.h"
#include "common/rpc/server_call.h"

namespace thinkwire::rpc {

// A service whose methods are all ServerCalls that take bytes, whatever the proto says of their
// kind: on the wire there is no difference. rpc::ParseRequest then tells a client what is wrong
// with its bytes, which gRPC's own parsing would not, and a call exists before its message has
// come. Threads: methods are added before the server starts.
class RawService : public grpc::Service {
 public:
  // Before the server starts, with the calls of that server.
  void Attach(OpenCalls& calls) { calls_ = &calls; }

  // "package.Service" of every service that it has methods of.
  const std::set<std::string>& names() const { return names_; }

 protected:
  using Make = OpenCalls::Make;
  // Answers a call: its response, or an error.
  using Answer = std::function<absl::StatusOr<grpc::ByteBuffer>(const grpc::ByteBuffer& request)>;

  // `service` as "package.Service". `make` makes each call; on gRPC threads.
  void AddMethod(const std::string& service, const std::string& method, Make make);
  // A method that is answered at once; on gRPC threads, so it must not block.
  void AddMethodOfOneAnswer(const std::string& service, const std::string& method, Answer answer);

  // Whether who calls may, whatever the method; on gRPC threads, so it must not block. Fails: what
  // the call ends with, before anything of it is looked at.
  virtual absl::Status Admit(const grpc::CallbackServerContext& /*context*/) const {
    return absl::OkStatus();
  }

 private:
  OpenCalls* calls_ = nullptr;
  std::set<std::string> names_;
  std::deque<std::string> paths_;  // gRPC's methods point to them
};

// Answers all calls of methods that no service has: UNIMPLEMENTED, reason UNKNOWN_METHOD. gRPC's
// own answer has no reason.
class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  // `calls` outlives the server.
  explicit UnknownMethods(OpenCalls& calls) : calls_(calls) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  OpenCalls& calls_;
};

}  // namespace thinkwire::rpc
