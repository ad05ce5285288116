#include "common/rpc/request_id.h"

#include <grpcpp/server_context.h>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "common/random_bits.h"
#include "common/rpc/client_metadata.h"

namespace thinkwire::rpc {
namespace {

// Without spaces, so that it is one word in every log.
std::string IdOfClient(const grpc::CallbackServerContext& context) {
  const std::string id =
      ClientMetadata(context, kClientRequestIdMetadata, kMaxClientRequestIdBytes);
  return absl::StrContains(id, ' ') ? "" : id;
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
