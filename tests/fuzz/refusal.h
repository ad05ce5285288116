#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "common/check.h"
#include "common/utf8.h"

namespace thinkwire::fuzz {

// What every refusal of an input is: one line, short, valid UTF-8, whatever it repeats.
inline void CheckRefusal(const absl::Status& status) {
  const std::string_view message(status.message().data(), status.message().size());
  CHECK(message.find('\n') == message.npos, "one line");
  CHECK(message.size() <= 1024, "a short line");
  CHECK(IsValidUtf8(message), "valid UTF-8");
}

}  // namespace thinkwire::fuzz
