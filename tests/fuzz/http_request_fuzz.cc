// Any bytes as the body of an HTTP request: refused in one short line, or a request whose parts are
// within the contract's limits, with no more names to warn of than a header holds.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/check.h"
#include "common/peer_limits.h"
#include "common/rpc/request_checks.h"
#include "router/http/request_reader.h"
#include "tests/fuzz/refusal.h"

namespace {

void Check(const absl::StatusOr<thinkwire::router::http::Asked>& asked) {
  if (!asked.ok()) return thinkwire::fuzz::CheckRefusal(asked.status());
  const auto& request = asked->request;
  CHECK(request.prompt().chat().messages_size() <= thinkwire::kMaxMessages, "a bounded chat");
  CHECK(request.sampling().stop_strings_size() <= thinkwire::kMaxStopStrings, "bounded stops");
  std::size_t bytes = 0;
  for (const auto& name : asked->ignored) bytes += name.size();
  CHECK(bytes <= 4096, "a Warning fits into a header");
  const absl::Status status = thinkwire::rpc::CheckRequest(request);
  if (!status.ok()) thinkwire::fuzz::CheckRefusal(status);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  Check(thinkwire::router::http::ReadChatRequest(body, {}));
  Check(thinkwire::router::http::ReadCompletionRequest(body, {}));
  Check(thinkwire::router::http::ReadResponsesRequest(body, {}));
  Check(thinkwire::router::http::ReadOllamaChat(body, {}));
  Check(thinkwire::router::http::ReadOllamaGenerate(body, {}));
  return 0;
}
