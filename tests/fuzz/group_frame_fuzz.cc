// Any bytes as a frame from another process of a group: refused, or the frame that has these bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "worker/parallel/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace parallel = thinkwire::worker::parallel;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string_view head_bytes = bytes.substr(0, std::min(size, parallel::kFrameHeadBytes));
  const std::string_view payload = bytes.substr(head_bytes.size());
  const auto head = parallel::DecodeFrameHead(head_bytes, payload.size());
  if (!head.ok() || !parallel::CheckFrame(*head, payload).ok()) return 0;
  const auto again = parallel::EncodeFrameHead(head->kind, head->step, payload);
  CHECK(std::string_view(again.data(), again.size()) == head_bytes, "one form for each frame");
  return 0;
}
