#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "worker/hub/backoff.h"
#include "worker/hub/http.h"

namespace thinkwire::worker::hub {

// Bytes [first, end) of a file of `bytes`.
struct RangeRequest {
  std::string url{};
  std::string name{};  // for messages
  std::int64_t first = 0;
  std::int64_t end = 0;
  std::int64_t bytes = 0;
  bool whole = false;  // asks for all, and takes the range out of it: for servers without ranges
};

// Brings a range to `take`, in order and each byte once, whatever breaks on the way: what is left
// is asked for again (Backoff). What `take` fails with ends it. Fails: UNIMPLEMENTED the server
// ignores ranges; else, once tries are used up, what the last one failed with, as UNAVAILABLE, or
// DATA_LOSS where the server has a file of another length.
absl::Status FetchRange(HttpConnection& connection, Backoff backoff, const RangeRequest& request,
                        const std::function<absl::Status(std::string_view bytes)>& take);

}  // namespace thinkwire::worker::hub
