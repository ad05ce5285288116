#pragma once

#include <cstdint>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// The output that the event is of; -1: none.
inline std::int32_t OutputIndexOf(const v1::GenerateResponse& event) {
  switch (event.event_case()) {
    case v1::GenerateResponse::kReasoningDelta:
      return event.reasoning_delta().output_index();
    case v1::GenerateResponse::kReasoningFinished:
      return event.reasoning_finished().output_index();
    case v1::GenerateResponse::kAnswerDelta:
      return event.answer_delta().output_index();
    case v1::GenerateResponse::kFinished:
      return event.finished().output_index();
    default:
      return -1;
  }
}

}  // namespace thinkwire::rpc
