#include "common/rpc/raw_service.h"

#include <grpcpp/impl/rpc_service_method.h>
#include <grpcpp/support/server_callback.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kMaxPathInError = 128;

class CallOfOneAnswer final : public ServerCall {
 public:
  using Answer = std::function<absl::StatusOr<grpc::ByteBuffer>(const grpc::ByteBuffer& request)>;
  // `answer` lives as long as the service.
  explicit CallOfOneAnswer(const Answer& answer) : ServerCall(1), answer_(answer) {}

 private:
  void OnMessage(grpc::ByteBuffer message) override {
    const absl::StatusOr<grpc::ByteBuffer> response = answer_(message);
    if (response.ok()) Write(*response);
    Finish(response.status());
  }

  const Answer& answer_;
};

}  // namespace

void RawService::AddMethod(const std::string& service, const std::string& method, Make make) {
  names_.insert(service);
  paths_.push_back(absl::StrCat("/", service, "/", method));
  grpc::Service::AddMethod(new grpc::internal::RpcServiceMethod(
      paths_.back().c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
  MarkMethodRawCallback(static_cast<int>(paths_.size()) - 1,
                        new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
                            [this, make = std::move(make)](grpc::CallbackServerContext* context) {
                              absl::Status status = Admit(*context);
                              return status.ok() ? calls_->Launch(*context, make)
                                                 : calls_->Refuse(*context, std::move(status));
                            }));
}

void RawService::AddMethodOfOneAnswer(const std::string& service, const std::string& method,
                                      Answer answer) {
  AddMethod(service, method,
            [answer = std::move(answer)](const grpc::CallbackServerContext& /*context*/) {
              return std::make_shared<CallOfOneAnswer>(answer);
            });
}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  const std::string path = absl::CHexEscape(context->method().substr(0, kMaxPathInError));
  return calls_.Refuse(*context, Error(absl::StatusCode::kUnimplemented, "UNKNOWN_METHOD",
                                       absl::StrCat("there is no method \"", path, "\" here")));
}

}  // namespace thinkwire::rpc
