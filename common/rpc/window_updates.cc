#include "common/rpc/window_updates.h"

#include <dlfcn.h>
#include <grpcpp/version_info.h>

#include <atomic>
#include <cstdint>

#include "common/check.h"

static_assert(GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR == 51,
              "what is replaced here is gRPC 1.51's");

// As gRPC 1.51 has them (src/core/ext/transport/chttp2/transport/flow_control.h), as far as they
// are used here.
namespace grpc_core::chttp2 {

class FlowControlAction {
 public:
  enum class Urgency : std::uint8_t { kNone, kImmediately, kWithTheNextWrite };

  Urgency stream_update = Urgency::kNone;

 private:
  [[maybe_unused]] Urgency others_[3];
  [[maybe_unused]] std::uint32_t settings_[2];
};
static_assert(sizeof(FlowControlAction) == 12);

class StreamFlowControl {
 public:
  // What is urgent after a message was read, or is waited for.
  FlowControlAction UpdateAction(FlowControlAction action);

  // By how many bytes the peer's window is to grow: what has arrived of it, beyond what is kept
  // here and nobody has asked for, and what the message that is waited for lacks.
  std::int64_t DesiredAnnounceSize() const;
};

}  // namespace grpc_core::chttp2

namespace thinkwire::rpc {
namespace {

using Action = grpc_core::chttp2::FlowControlAction;
using Stream = grpc_core::chttp2::StreamFlowControl;
using Update = Action(Stream* stream, Action action);

// So many bytes of a window may be used up before its peer is told. What a message that is waited
// for lacks is among them, so that it fits in what is left, at least as much again.
constexpr std::int64_t kMayWait = 16 << 10;

std::atomic<bool> seldom = false;

// gRPC's.
Update* GrpcUpdate() {
  static Update* const update = [] {
    void* const found =
        dlsym(RTLD_NEXT,
              "_ZN9grpc_core6chttp217StreamFlowControl12UpdateActionENS0_17FlowControlActionE");
    CHECK(found != nullptr, "gRPC 1.51 has what this file replaces");
    return reinterpret_cast<Update*>(found);
  }();
  return update;
}

}  // namespace

void TellOfWindowsSeldom() { seldom = true; }

}  // namespace thinkwire::rpc

// Found before gRPC's by all that the program is linked with.
grpc_core::chttp2::FlowControlAction grpc_core::chttp2::StreamFlowControl::UpdateAction(
    FlowControlAction action) {
  using thinkwire::rpc::kMayWait;
  FlowControlAction updated = thinkwire::rpc::GrpcUpdate()(this, action);
  const bool may_wait = thinkwire::rpc::seldom &&
                        updated.stream_update == FlowControlAction::Urgency::kImmediately &&
                        DesiredAnnounceSize() <= kMayWait;
  if (may_wait) updated.stream_update = FlowControlAction::Urgency::kWithTheNextWrite;
  return updated;
}
