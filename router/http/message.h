#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinkwire::router::http {

// A request of HTTP/1.1 that has arrived as a whole.
struct Request {
  std::string method{};                          // "POST"
  std::string path{};                            // "/v1/models", without the query
  std::map<std::string, std::string> headers{};  // by name in lower case; repeated ones by ", "
  std::string body{};
  std::string peer{};                            // the other end as gRPC writes it
  std::vector<std::string> certificate_names{};  // of its verified certificate

  // Empty: there is none.
  std::string_view header(const std::string& lower_case_name) const {
    const auto found = headers.find(lower_case_name);
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
  }
};

using HeaderFields = std::vector<std::pair<std::string, std::string>>;

// The beginning of an answer.
struct ResponseHead {
  int status = 200;
  HeaderFields fields{};                        // Content-Type among them
  std::optional<std::size_t> content_length{};  // nullopt: not known yet
  bool closes = false;                          // the connection ends after it
};

// "404": "Not Found"; of the codes that the door sends.
std::string_view ReasonPhrase(int status);

// How a head is framed for one connection.
struct Framing {
  bool chunked = false;     // where the length is not known
  bool keep_alive = false;  // the connection goes on
};

// The status line and all fields with the empty line after them; `date` of RFC 9110.
std::string FormatHead(const ResponseHead& head, const Framing& framing, std::string_view date);

// Now, as "Sun, 06 Nov 1994 08:49:37 GMT".
std::string HttpDate();

}  // namespace thinkwire::router::http
