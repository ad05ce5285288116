#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "router/config.h"

namespace thinkwire::router {

// Decides for recorded requests as a router of that configuration does after its start, if all of
// its workers are live and idle: none is called. So nothing is learnt from one line to the next,
// but that equal workers are given requests by turns.
//
// A line of the file at `path` is a JSON object: "request", a GenerateRequest in protobuf's JSON,
// and if it had one "deadline_s", the seconds until its deadline. Empty lines are none. `print` is
// given a line of JSON for each: "line", and "variant", "worker", "cause", "task",
// "variant_reason", "worker_reason", "thinking_p50" and "thinking_p90" (tokens; without them it
// answers at once), "escalates_to" where it would begin anew if its reasoning came to no answer, or
// "code" and "message" where the request is refused. Fails: as ReadFile; INVALID_ARGUMENT, at the
// first line that is no such object, with its number.
absl::Status DryRun(const RouterConfig& config, const std::string& path,
                    const std::function<void(const std::string& line)>& print);

}  // namespace thinkwire::router
