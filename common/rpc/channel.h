#pragma once

#include <memory>
#include <string>

namespace grpc {
class Channel;
}  // namespace grpc

namespace thinkwire::rpc {

// What a server can send of a stream beyond what is read of it; a longer message comes whole.
inline constexpr int kStreamWindowBytes = 64 << 10;

// A channel to "host:port" with keepalive (a peer that stops answering is noticed within 3 s) and
// quick reconnects. Takes no message over kMaxAnswerBytes. Does not connect yet. Every channel has its own connection.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

}  // namespace thinkwire::rpc
