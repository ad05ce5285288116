#include "common/rpc/api_key.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/client_interceptor.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

constexpr char kMetadata[] = "authorization";
constexpr char kScheme[] = "Bearer ";
// Of the file: a key and what an editor may add to it.
constexpr std::size_t kMaxFileBytes = kMaxApiKeyBytes + 64;

bool IsKey(absl::string_view text) {
  return text.size() >= kMinApiKeyBytes && text.size() <= kMaxApiKeyBytes &&
         std::ranges::all_of(
             text, [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); });
}

class Sender final : public grpc::experimental::Interceptor {
 public:
  explicit Sender(const std::string& value) : value_(value) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    using grpc::experimental::InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      methods->GetSendInitialMetadata()->emplace(kMetadata, value_);
    }
    methods->Proceed();
  }

 private:
  const std::string& value_;
};

class SenderFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit SenderFactory(absl::string_view key) : value_(absl::StrCat(kScheme, key)) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*info*/) override {
    return new Sender(value_);  // gRPC takes it
  }

 private:
  const std::string value_;  // lives as long as the channel, and so longer than its calls
};

}  // namespace

absl::StatusOr<std::string> ReadApiKeyFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  const absl::string_view key = absl::StripAsciiWhitespace(text);
  if (IsKey(key)) return std::string(key);
  return absl::InvalidArgumentError(absl::StrCat(path, ": an API key has ", kMinApiKeyBytes, " to ",
                                                 kMaxApiKeyBytes,
                                                 " printable characters without a space"));
}

std::string ApiKeyOf(const grpc::CallbackServerContext& context) {
  const auto [first, last] = context.client_metadata().equal_range(kMetadata);
  if (first == last) return "";
  absl::string_view value(first->second.data(), first->second.size());
  if (absl::StartsWithIgnoreCase(value, kScheme)) value.remove_prefix(sizeof(kScheme) - 1);
  return std::string(absl::StripAsciiWhitespace(value));
}

std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> SendApiKey(
    const std::string& key) {
  return std::make_unique<SenderFactory>(key);
}

}  // namespace thinkwire::rpc
