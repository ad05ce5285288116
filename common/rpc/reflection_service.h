#pragma once

#include <functional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "common/rpc/peer_places.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/trusted_peers.h"

namespace thinkwire::rpc {

// grpc.reflection.v1alpha: tells tools which services there are and what their messages look like,
// of all protos that are linked in. gRPC's own one takes a thread for each stream, for as long as
// its client likes, and nobody else sees these streams: here they are calls like others.
//
// A stream has a place from its first question on, kMaxReflections of them shared by PeerPlaces;
// none: RESOURCE_EXHAUSTED, reason TOO_MANY_REFLECTIONS. Who asks on without reading the answers is
// ended: RESOURCE_EXHAUSTED, ANSWERS_NOT_READ. A question over kMaxReflectionBytes:
// RESOURCE_EXHAUSTED, MESSAGE_TOO_LARGE.
// Threads: any.
class ReflectionService final : public RawService {
 public:
  using Admission = std::function<absl::Status(const grpc::CallbackServerContext&)>;

  // `names` of the server's services; its own is added. `admit` says who may ask; empty: everybody.
  ReflectionService(std::set<std::string> names, const TrustedPeers& trusted_peers,
                    Admission admit = {});
  ~ReflectionService() override;

 private:
  class Stream;

  absl::Status Admit(const grpc::CallbackServerContext& context) const override;

  const Admission admit_;
  const std::set<std::string> names_;
  PeerPlaces places_;
};

}  // namespace thinkwire::rpc
