#include "common/rpc/request_id.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <cstdint>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace thinkwire::rpc {
namespace {

std::uint64_t RandomBits() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

std::string IdOfClient(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find(kClientRequestIdMetadata);
  if (found == context.client_metadata().end()) return "";
  const grpc::string_ref id = found->second;
  const auto is_printable = [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  };
  if (id.size() > kMaxClientRequestIdBytes || !std::ranges::all_of(id, is_printable)) return "";
  return std::string(id.data(), id.size());
}

}  // namespace

std::string MakeRequestId() { return absl::StrFormat("%016x%016x", RandomBits(), RandomBits()); }

RequestId NameCall(grpc::CallbackServerContext& context) {
  RequestId id{.own = MakeRequestId(), .of_client = IdOfClient(context)};
  context.AddInitialMetadata(kRequestIdMetadata, id.own);
  if (!id.of_client.empty()) context.AddInitialMetadata(kClientRequestIdMetadata, id.of_client);
  return id;
}

}  // namespace thinkwire::rpc
