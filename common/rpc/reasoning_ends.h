#pragma once

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// Whether an id closed the reasoning, by its cause; LOOP may be either where the worker was told to
// end without an answer.
inline bool IsClosed(v1::ReasoningFinishCause cause) {
  return cause != v1::REASONING_FINISH_CAUSE_LENGTH && cause != v1::REASONING_FINISH_CAUSE_STOP &&
         cause != v1::REASONING_FINISH_CAUSE_END_OF_SEQUENCE;
}

// How an output may end whose reasoning ended so, unclosed.
inline bool Agree(v1::ReasoningFinishCause cause, v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_END:
      return cause == v1::REASONING_FINISH_CAUSE_END_OF_SEQUENCE;
    case v1::FINISH_REASON_STOP_STRING:
    case v1::FINISH_REASON_STOP_TOKEN:
      return cause == v1::REASONING_FINISH_CAUSE_STOP;
    case v1::FINISH_REASON_LOOP:
      return cause == v1::REASONING_FINISH_CAUSE_LOOP;
    default:
      return cause == v1::REASONING_FINISH_CAUSE_LENGTH;
  }
}

}  // namespace thinkwire::rpc
