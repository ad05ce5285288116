#include "common/rpc/frame_limits.h"

#include <dlfcn.h>
#include <grpc/slice.h>
#include <grpcpp/version_info.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "common/rpc/frame_guard.h"

static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51,
              "what is replaced here is gRPC 1.51's");

// As gRPC 1.51 has them (src/core/ext/transport/chttp2/transport/{chttp2_transport.h,internal.h}),
// as far as they are used here.
struct grpc_endpoint;
struct grpc_transport;
namespace grpc_core {
class ChannelArgs;
}  // namespace grpc_core

// A connection. Of a grpc_transport, its first member, it has the address.
struct grpc_chttp2_transport {
  ~grpc_chttp2_transport();
};

grpc_transport* grpc_create_chttp2_transport(const grpc_core::ChannelArgs& arguments,
                                             grpc_endpoint* endpoint, bool is_client);

// What is not OK closes the connection.
absl::Status grpc_chttp2_perform_read(grpc_chttp2_transport* transport, const grpc_slice& slice);

namespace thinkwire::rpc {
namespace {

using Create = grpc_transport*(const grpc_core::ChannelArgs& arguments, grpc_endpoint* endpoint,
                               bool is_client);
using Destroy = void(grpc_chttp2_transport* transport);
using Read = absl::Status(grpc_chttp2_transport* transport, const grpc_slice& slice);

// 0: nothing is limited.
std::atomic<std::size_t> most_header_bytes = 0;

// gRPC's function of that name.
template <class Function>
Function* Grpc(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  CHECK(found != nullptr, "gRPC 1.51 has what this file replaces");
  return reinterpret_cast<Function*>(found);
}

// Of each connection that a server has. gRPC's threads may outlive all that is destroyed as the
// process ends, so that this is not. Each connection's is used by one thread at a time.
class Guards {
 public:
  void Add(const void* connection, std::size_t header_bytes) {
    auto guard = std::make_unique<FrameGuard>(header_bytes, Clock::Real().Now());
    Part& part = PartOf(connection);
    MutexLock lock(part.mu);
    part.guards.insert_or_assign(connection, std::move(guard));
  }
  void Remove(const void* connection) {
    Part& part = PartOf(connection);
    MutexLock lock(part.mu);
    part.guards.erase(connection);
  }
  // Null: it has none.
  FrameGuard* Find(const void* connection) {
    Part& part = PartOf(connection);
    MutexLock lock(part.mu);
    const auto found = part.guards.find(connection);
    return found == part.guards.end() ? nullptr : found->second.get();
  }

 private:
  // So that threads seldom wait for each other.
  struct Part {
    Mutex mu;
    absl::flat_hash_map<const void*, std::unique_ptr<FrameGuard>> guards ABSL_GUARDED_BY(mu);
  };
  Part& PartOf(const void* connection) {
    return parts_[std::hash<const void*>()(connection) / alignof(std::max_align_t) % parts_.size()];
  }

  std::array<Part, 61> parts_;
};

Guards& TheGuards() {
  static Guards& guards = *new Guards;
  return guards;
}

}  // namespace

void LimitFrames(std::size_t header_bytes) {
  std::size_t most = most_header_bytes;
  while (most < header_bytes && !most_header_bytes.compare_exchange_weak(most, header_bytes)) {
  }
}

}  // namespace thinkwire::rpc

// All three are found before gRPC's by all that the program is linked with.

grpc_transport* grpc_create_chttp2_transport(const grpc_core::ChannelArgs& arguments,
                                             grpc_endpoint* endpoint, bool is_client) {
  using namespace thinkwire::rpc;
  static Create* const create =
      Grpc<Create>("_Z28grpc_create_chttp2_transportRKN9grpc_core11ChannelArgsEP13grpc_endpointb");
  grpc_transport* const transport = create(arguments, endpoint, is_client);
  const std::size_t header_bytes = most_header_bytes;
  if (!is_client && header_bytes > 0) TheGuards().Add(transport, header_bytes);
  return transport;
}

grpc_chttp2_transport::~grpc_chttp2_transport() {
  using namespace thinkwire::rpc;
  static Destroy* const destroy = Grpc<Destroy>("_ZN21grpc_chttp2_transportD1Ev");
  TheGuards().Remove(this);
  destroy(this);
}

absl::Status grpc_chttp2_perform_read(grpc_chttp2_transport* transport, const grpc_slice& slice) {
  using namespace thinkwire;
  using namespace thinkwire::rpc;
  static Read* const read =
      Grpc<Read>("_Z24grpc_chttp2_perform_readP21grpc_chttp2_transportRK10grpc_slice");
  if (FrameGuard* const guard = TheGuards().Find(transport); guard != nullptr) {
    const absl::Status status =
        guard->Take({GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)}, Clock::Real().Now());
    if (!status.ok()) {
      LogWarning("a connection is closed", {{"reason", std::string(status.message())}});
      return status;
    }
  }
  return read(transport, slice);
}
