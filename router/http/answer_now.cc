#include "router/http/answer_now.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/json.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/http/errors.h"
#include "router/http/fields.h"
#include "router/http/http_limits.h"

namespace thinkwire::router::http {

absl::StatusOr<v1::AnswerNowRequest> ReadAnswerNow(std::string_view body) {
  ASSIGN_OR_RETURN(const Json document,
                   ParseJson(body, "the body", {.max_values = kMaxBodyValues}));
  RETURN_IF_ERROR(CheckObject(document, "the body"));
  v1::AnswerNowRequest request;
  for (const auto& [key, value] : document.items()) {
    if (key == "request_id") {
      ASSIGN_OR_RETURN(*request.mutable_request_id(), ReadText(value, key));
    } else if (key == "output") {
      ASSIGN_OR_RETURN(const std::int32_t output, ReadInt(value, key));
      request.set_output_index(output);
    }
  }
  if (request.request_id().empty()) return rpc::InvalidField("request_id", "is required");
  return request;
}

AnswerNowCall::AnswerNowCall(rpc::CallCount& open, HeaderFields fields,
                             std::function<void(int)> on_status)
    : fields_(std::move(fields)), on_status_(std::move(on_status)), open_(open.Begin()) {}

void AnswerNowCall::Tell(const absl::StatusOr<std::int32_t>& outputs) {
  ErrorReply reply =
      outputs.ok()
          ? ErrorReply{.status = 200, .body = absl::StrCat(R"({"outputs":)", *outputs, "}")}
          : MakeErrorReply(outputs.status());
  if (reply.status == 404)
    reply = MakeErrorReply(404, "request_not_found", std::string(outputs.status().message()));
  ResponseHead head{.status = reply.status, .fields = fields_};
  for (auto& field : reply.fields) head.fields.push_back(std::move(field));
  head.fields.emplace_back("Content-Type", "application/json");
  head.fields.emplace_back("Cache-Control", "no-store");
  on_status_(reply.status);
  Respond(std::move(head), std::move(reply.body));
  MutexLock lock(mu_);
  const rpc::CallCount::Token open = std::move(open_);  // the last: the door may go now
}

}  // namespace thinkwire::router::http
