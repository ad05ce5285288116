#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/rpc/call_count.h"
#include "router/http/exchange.h"
#include "router/http/message.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// {"request_id": "…", "output": 0}: a request by the x-request-id that its answer has, and which of
// its outputs (no "output": all). Fails: INVALID_ARGUMENT that names the field.
absl::StatusOr<v1::AnswerNowRequest> ReadAnswerNow(std::string_view body);

// One AnswerNow on its way to a client of HTTP: {"outputs": 1}, how many now end their reasoning.
// Threads: any.
class AnswerNowCall final : public Exchange {
 public:
  // `open` counts until Tell. `on_status` is told once, in Tell.
  AnswerNowCall(rpc::CallCount& open, HeaderFields fields, std::function<void(int)> on_status);

  // Once.
  void Tell(const absl::StatusOr<std::int32_t>& outputs);

 private:
  const HeaderFields fields_;
  const std::function<void(int)> on_status_;
  Mutex mu_;
  rpc::CallCount::Token open_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router::http
