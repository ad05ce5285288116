#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/rpc/proto_time.h"

namespace thinkwire::rpc {

// What a stream says that it may not.
template <class... Parts>
absl::Status Wrong(const Parts&... parts) {
  return absl::InternalError(absl::StrCat(parts...));
}

inline absl::Status Expect(const char* what, std::int64_t said, std::int64_t counted) {
  if (said == counted) return absl::OkStatus();
  return Wrong(what, " is ", said, ", counted were ", counted);
}

inline absl::Status ExpectTime(const char* what, const google::protobuf::Duration& time) {
  if (ReadDuration(time) >= Clock::Duration::zero()) return absl::OkStatus();
  return Wrong(what, " is negative");
}

}  // namespace thinkwire::rpc
