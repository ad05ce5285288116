#include "common/rpc/client_metadata.h"

#include <grpcpp/server_context.h>

#include <algorithm>

#include "absl/strings/ascii.h"

namespace thinkwire::rpc {

std::string ClientMetadata(const grpc::CallbackServerContext& context, const char* key,
                           std::size_t max_bytes) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  const grpc::string_ref value = found->second;
  const auto is_legal = [](char c) { return absl::ascii_isprint(static_cast<unsigned char>(c)); };
  if (value.size() > max_bytes || !std::ranges::all_of(value, is_legal)) return "";
  return std::string(value.data(), value.size());
}

}  // namespace thinkwire::rpc
