#include "router/http/message.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/strings.h"

namespace thinkwire::router::http {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};

constexpr Phrase kPhrases[] = {
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

}  // namespace

std::string_view ReasonPhrase(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "Unknown";
}

std::string FormatHead(const ResponseHead& head, const Framing& framing, std::string_view date) {
  std::string text =
      absl::StrCat("HTTP/1.1 ", head.status, " ", View(ReasonPhrase(head.status)), "\r\n");
  for (const auto& [name, value] : head.fields) absl::StrAppend(&text, name, ": ", value, "\r\n");
  absl::StrAppend(&text, "Date: ", View(date), "\r\n");
  if (head.status == 204) {
    // It has no content, and so no length of it.
  } else if (head.content_length) {
    absl::StrAppend(&text, "Content-Length: ", *head.content_length, "\r\n");
  } else if (framing.chunked) {
    absl::StrAppend(&text, "Transfer-Encoding: chunked\r\n");
  }
  absl::StrAppend(&text, "Connection: ", framing.keep_alive ? "keep-alive" : "close", "\r\n\r\n");
  return text;
}

std::string HttpDate() {
  return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone());
}

}  // namespace thinkwire::router::http
