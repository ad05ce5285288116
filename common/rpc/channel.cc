#include "common/rpc/channel.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/listen_address.h"
#include "common/peer_limits.h"
#include "common/rpc/api_key.h"
#include "common/rpc/few_pollers.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/lock_order.h"
#include "common/rpc/monotonic_waits.h"
#include "common/rpc/window_updates.h"

namespace thinkwire::rpc {
namespace {

std::string Environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

// Whether the address's host ends with an entry of the exceptions.
bool IsExcepted(const std::string& address) {
  std::string exceptions = Environment("no_grpc_proxy");
  if (exceptions.empty()) exceptions = Environment("no_proxy");
  const std::string host = address.substr(0, address.rfind(':'));
  const std::vector<std::string> entries = absl::StrSplit(exceptions, ',', absl::SkipEmpty());
  return std::ranges::any_of(
      entries, [&](const std::string& entry) { return absl::EndsWithIgnoreCase(host, entry); });
}

// A proxy's URL as it may be shown.
std::string WithoutUser(const std::string& url) {
  const std::size_t at = url.rfind('@');
  if (at == std::string::npos) return url;
  const std::size_t scheme = url.find("://");
  return absl::StrCat(scheme == std::string::npos ? "" : url.substr(0, scheme + 3),
                      url.substr(at + 1));
}

grpc::ChannelArguments ArgumentsFor(Proxy proxy) {
  grpc::ChannelArguments arguments;
  // By default gRPC obeys http_proxy, which is meant for the web beyond a company.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, proxy == Proxy::kOfEnvironment ? 1 : 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kClientKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kClientKeepaliveTimeoutMs);
  arguments.SetInt(kPingTimeoutArgument, kClientKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Not the least time between two attempts, but that for one: a busy server may take seconds for
  // its first word. After an attempt that was refused the next comes as soon as before.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // What arrives and is not read yet is bounded: else gRPC lets a peer send ever more of a stream
  // whose reader is slow, by megabytes on a fast network.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kStreamWindowBytes);
  // Nobody looks at what gRPC counts for that, at each message.
  arguments.SetInt(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // Whether a call is tried again is the router's decision, not the channel's.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  // As a server's: nobody sends what inflates.
  arguments.SetInt(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE);
  // So the filters that look at each message for that have nothing to do.
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  return arguments;
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Proxy proxy,
                                           const ChannelSecurity& security) {
  SendGrpcLogsToOurs();
  WaitByMonotonicClock();
  DoNotWatchLockOrder();
  PollWithFewThreads();
  TellOfWindowsSeldom();
  grpc::ChannelArguments arguments = ArgumentsFor(proxy);
  if (!security.server_name.empty()) arguments.SetSslTargetNameOverride(security.server_name);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> senders;
  if (!security.api_key.empty()) senders.push_back(SendApiKey(security.api_key));
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      address, security.credentials ? security.credentials : grpc::InsecureChannelCredentials(),
      arguments, std::move(senders));
}

Proxy ProxyFor(const std::string& address) {
  return IsLoopback(address) ? Proxy::kNone : Proxy::kOfEnvironment;
}

std::string ProxyOfEnvironment(const std::string& address) {
  for (const char* variable : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    const std::string proxy = Environment(variable);
    if (proxy.empty()) continue;
    return IsExcepted(address) ? "" : absl::StrCat(WithoutUser(proxy), " (", variable, ")");
  }
  return "";
}

}  // namespace thinkwire::rpc
