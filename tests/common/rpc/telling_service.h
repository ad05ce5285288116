#pragma once

#include <grpcpp/support/server_callback.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"

namespace thinkwire::rpc {

// Ends each call of kTell with ABORTED, whose text is what `what` says of the call's context.
class TellingService final : public RawService {
 public:
  static constexpr char kTell[] = "/test.Context/Tell";

  explicit TellingService(std::function<std::string(const grpc::CallbackServerContext&)> what) {
    AddMethod("test.Context", "Tell", [what = std::move(what)](const auto& context) {
      return std::make_shared<Call>(what(context));
    });
  }

 private:
  class Call final : public ServerCall {
   public:
    explicit Call(std::string text) : ServerCall(1), text_(std::move(text)) {}

   private:
    void OnMessage(grpc::ByteBuffer /*message*/) override { Finish(absl::AbortedError(text_)); }

    const std::string text_;
  };
};

}  // namespace thinkwire::rpc
