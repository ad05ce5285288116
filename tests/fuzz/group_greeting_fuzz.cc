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
  leader.size = 2;
  parallel::RollCall call(leader, /*sums=*/false);
  if (call.Admit(*greeting).ok()) CHECK(call.missing().empty(), "who can come has come");
  return 0;
}
