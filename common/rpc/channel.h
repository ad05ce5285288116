#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc

namespace thinkwire::rpc {

// What a server can send of a stream beyond what is read of it; a longer message comes whole.
inline constexpr int kStreamWindowBytes = 64 << 10;

// Whether a channel goes through the HTTP proxy that the environment names for its address.
enum class Proxy : std::uint8_t { kNone, kOfEnvironment };

// What a channel keeps from others, and shows of itself.
struct ChannelSecurity {
  std::shared_ptr<grpc::ChannelCredentials> credentials{};  // null: nothing is encrypted
  // That the server's certificate has to have; empty: the host of the address.
  std::string server_name{};
  std::string api_key{};  // which every call carries; empty: none
};

// A channel to "host:port" with keepalive (a peer that stops answering is noticed within 3 s) and
// quick reconnects. Takes no message over kMaxAnswerBytes. Does not connect yet. Every channel has
// its own connection.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address, Proxy proxy = Proxy::kNone,
                                           const ChannelSecurity& security = {});

// What a client of people's goes through to `address`: their proxy, but to this machine itself.
Proxy ProxyFor(const std::string& address);

// The proxy that gRPC 1.51 takes for `address`, and the variable that names it, as
// "http://host:port (http_proxy)"; without a password. Empty: none, by grpc_proxy, https_proxy,
// http_proxy and the exceptions of no_grpc_proxy or no_proxy.
std::string ProxyOfEnvironment(const std::string& address);

}  // namespace thinkwire::rpc
