#include "common/rpc/http_connection.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace thinkwire::rpc {
namespace {

// What Prometheus takes for its text format.
constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

struct RequestLine {
  absl::string_view method;
  absl::string_view path;  // without its query
  bool well_formed = false;
};

RequestLine ParseRequestLine(absl::string_view header) {
  const absl::string_view line = header.substr(0, header.find_first_of("\r\n"));
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  if (words.size() != 3 || !absl::StartsWith(words[1], "/") ||
      !absl::StartsWith(words[2], "HTTP/1.")) {
    return {};
  }
  return {.method = words[0], .path = words[1].substr(0, words[1].find('?')), .well_formed = true};
}

std::string Response(absl::string_view status, absl::string_view fields,
                     std::size_t content_bytes) {
  return absl::StrCat("HTTP/1.1 ", status, "\r\n", fields, "Content-Length: ", content_bytes,
                      "\r\nConnection: close\r\n\r\n");
}

std::string Error(absl::string_view status, absl::string_view fields = "") {
  const std::string content = absl::StrCat(status, "\n");
  return Response(status, absl::StrCat("Content-Type: text/plain\r\n", fields), content.size()) +
         content;
}

// Of a request's line and header with the empty line behind them; nullopt: they go on.
std::optional<std::size_t> HeaderBytes(absl::string_view received) {
  for (const absl::string_view end : {"\r\n\r\n", "\n\n"}) {
    if (const std::size_t at = received.find(end); at != received.npos) return at + end.size();
  }
  return std::nullopt;
}

bool MustWait() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

std::string AnswerHttp(absl::string_view header, const std::function<std::string()>& page) {
  if (header.size() > kMaxHttpHeaderBytes) return Error("431 Request Header Fields Too Large");
  const RequestLine request = ParseRequestLine(header);
  if (!request.well_formed) return Error("400 Bad Request");
  const bool head = request.method == "HEAD";
  if (!head && request.method != "GET") {
    return Error("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
  }
  if (request.path != "/metrics" && request.path != "/") return Error("404 Not Found");
  const std::string content = page();
  std::string answer =
      Response("200 OK", absl::StrCat("Content-Type: ", kTextFormat, "\r\n"), content.size());
  if (!head) answer += content;
  return answer;
}

HttpConnection::Wants HttpConnection::GoOn() {
  if (answer_.empty()) return Read();
  return num_sent_ < answer_.size() ? Write() : Discard();
}

HttpConnection::Wants HttpConnection::Answer(std::string answer) {
  answer_ = std::move(answer);
  return Write();
}

HttpConnection::Wants HttpConnection::Read() {
  std::array<char, kMaxHttpHeaderBytes + 1> buffer{};
  const std::size_t room = buffer.size() - received_.size();
  const ssize_t got = recv(socket_.get(), buffer.data(), room, 0);
  if (got < 0) return MustWait() ? Wants::kInput : Wants::kEnd;
  if (got == 0) return Wants::kEnd;  // it asks for nothing any more
  received_.append(buffer.data(), static_cast<std::size_t>(got));
  if (const auto whole = HeaderBytes(received_)) {
    received_.resize(*whole);
    return Wants::kAnswer;
  }
  return received_.size() > kMaxHttpHeaderBytes ? Wants::kAnswer : Wants::kInput;
}

HttpConnection::Wants HttpConnection::Write() {
  const ssize_t sent =
      send(socket_.get(), answer_.data() + num_sent_, answer_.size() - num_sent_, MSG_NOSIGNAL);
  if (sent < 0) return MustWait() ? Wants::kOutput : Wants::kEnd;
  num_sent_ += static_cast<std::size_t>(sent);
  if (num_sent_ < answer_.size()) return Wants::kOutput;
  shutdown(socket_.get(), SHUT_WR);
  return Wants::kInput;
}

HttpConnection::Wants HttpConnection::Discard() {
  std::array<char, 16 << 10> buffer;
  const ssize_t got = recv(socket_.get(), buffer.data(), buffer.size(), 0);
  return got > 0 || (got < 0 && MustWait()) ? Wants::kInput : Wants::kEnd;
}

}  // namespace thinkwire::rpc
