#pragma once

#include "absl/status/status.h"
#include "common/log.h"

namespace thinkwire {

// How a request's end is logged: an error where we have failed, a warning where what we have was
// not enough for it, and else, whatever the client has done, as news.
LogLevel LevelOfEnd(absl::StatusCode code);

}  // namespace thinkwire
