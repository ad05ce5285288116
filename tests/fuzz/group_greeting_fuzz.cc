// Any bytes as what a stranger says first to a group's leader: refused, or the greeting that has
// these bytes and no others, which the leader's roll call then judges.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "worker/parallel/roll_call.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace parallel = thinkwire::worker::parallel;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto greeting = parallel::DecodeGreeting(bytes);
  if (!greeting.has_value()) return 0;
  CHECK(parallel::EncodeGreeting(*greeting) == bytes, "one form for each greeting");
  parallel::Greeting leader;
  leader.token = "t";
  leader.size = 2;
  leader.num_blocks = 9;
  parallel::RollCall call(leader);
  if (call.Admit(*greeting).ok()) {
    CHECK(call.missing().empty(), "the only rank that can come has come");
    CHECK(call.num_blocks() >= 1 && call.num_blocks() <= 9, "blocks of the least");
  }
  return 0;
}
