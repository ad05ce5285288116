#include "common/rpc/traceparent.h"

#include "common/rpc/client_metadata.h"

namespace thinkwire::rpc {

std::string TraceparentOf(const grpc::CallbackServerContext& context) {
  return ClientMetadata(context, kTraceparentMetadata, kMaxTraceparentBytes);
}

}  // namespace thinkwire::rpc
