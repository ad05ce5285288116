#include "router/client/chat_json.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

namespace thinkwire::router::client {

std::string JsonLine(const std::string& name, const google::protobuf::Message& event) {
  google::protobuf::util::JsonPrintOptions print;
  print.always_print_primitive_fields = true;
  print.preserve_proto_field_names = true;
  std::string fields;
  if (!google::protobuf::util::MessageToJsonString(event, &fields, print).ok()) fields = "{}";
  nlohmann::ordered_json line = {{"event", name}};
  line.update(nlohmann::ordered_json::parse(fields));
  return line.dump();
}

std::string JsonLine(const v1::GenerateResponse& response) {
  switch (response.event_case()) {
    case v1::GenerateResponse::kQueued:
      return JsonLine("queued", response.queued());
    case v1::GenerateResponse::kStarted:
      return JsonLine("started", response.started());
    case v1::GenerateResponse::kReasoningDelta:
      return JsonLine("reasoning", response.reasoning_delta());
    case v1::GenerateResponse::kReasoningFinished:
      return JsonLine("reasoning_finished", response.reasoning_finished());
    case v1::GenerateResponse::kAnswerDelta:
      return JsonLine("answer", response.answer_delta());
    case v1::GenerateResponse::kFinished:
      return JsonLine("finished", response.finished());
    case v1::GenerateResponse::kMoved:
      return JsonLine("moved", response.moved());
    case v1::GenerateResponse::kCompleted:
      return JsonLine("completed", response.completed());
    case v1::GenerateResponse::kRestarted:
      return JsonLine("restarted", response.restarted());
    case v1::GenerateResponse::kProgress:
      return JsonLine("progress", response.progress());
    case v1::GenerateResponse::EVENT_NOT_SET:
      break;
  }
  return "";
}

}  // namespace thinkwire::router::client
