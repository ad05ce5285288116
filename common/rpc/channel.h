#pragma once

#include <memory>
#include <string>

namespace grpc {
class Channel;
}  // namespace grpc

namespace thinkwire::rpc {

// A channel to "host:port" with keepalive (a peer that stops answering is noticed within 3 s) and
// quick reconnects. Does not connect yet. Every channel has its own connection.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

}  // namespace thinkwire::rpc
