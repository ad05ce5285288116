#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::worker::hub {

// What all requests to the hub have in common.
struct HttpOptions {
  std::string token{};                      // Bearer; goes to the host that was asked, and no other
  std::string ca{};                         // file or folder of CAs; empty: the system's
  long silence_s = 10;                      // without a byte for so long a request has failed
  const std::atomic<bool>* stop = nullptr;  // once true, requests fail; null: nobody stops them
};

// The last answer of a request, behind redirects.
struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers{};  // by lower-case name
  std::string redirect{};                        // where a Head was sent on to, as a whole URL
  std::string body{};                            // of a Get, or of an answer that is not 2xx
  std::int64_t retry_after_s = 0;                // the server's wish; 0: it has none

  // Empty: there is no such header.
  const std::string& Header(const std::string& name) const;
};

// One connection at a time, kept open between requests; proxies are as the environment says
// (https_proxy, no_proxy, …). libcurl is known here alone.
// Threads: one.
class HttpConnection {
 public:
  // Takes a part of a 200's or 206's body; false ends the request.
  using Sink = std::function<bool(const HttpReply& reply, std::string_view bytes)>;

  explicit HttpConnection(HttpOptions options);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // Each returns what the server says, whatever that is.
  // Fails: UNAVAILABLE, with the host and what went wrong, where nothing was said or not all of it;
  // RESOURCE_EXHAUSTED the body is longer than `max_bytes`.
  absl::StatusOr<HttpReply> Head(const std::string& url);  // follows no redirect
  absl::StatusOr<HttpReply> Get(const std::string& url, std::size_t max_bytes);
  // The bytes of `range` ("0-99"; empty: all) go to the sink. Fails also: ABORTED the sink ended
  // it.
  absl::StatusOr<HttpReply> Get(const std::string& url, const std::string& range, const Sink& sink);

 private:
  struct Handle;
  const std::unique_ptr<Handle> handle_;
};

// `url` without what follows its host, for messages.
std::string HostOf(const std::string& url);

// `text` as a part of a URL's path: '/' too becomes %2F.
std::string UrlPart(std::string_view text);

}  // namespace thinkwire::worker::hub
