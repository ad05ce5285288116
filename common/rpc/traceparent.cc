#include "common/rpc/traceparent.h"

#include <grpcpp/server_context.h>

namespace thinkwire::rpc {

std::string TraceparentOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find(kTraceparentMetadata);
  if (found == context.client_metadata().end()) return "";
  if (found->second.size() > kMaxTraceparentBytes) return "";
  return std::string(found->second.data(), found->second.size());
}

}  // namespace thinkwire::rpc
