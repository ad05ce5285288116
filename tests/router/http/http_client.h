#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/file_descriptor.h"
#include "common/strings.h"

namespace thinkwire::router::http {

// A connection of bytes to a port of this machine. Reads give up after a minute, so that a test
// fails rather than hangs. Threads: one at a time.
class RawClient {
 public:
  explicit RawClient(int port, int receive_buffer = 0)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{.tv_sec = 60, .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (receive_buffer > 0) {
      setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    is_connected_ =
        connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }

  bool is_connected() const { return is_connected_; }
  // This machine's number for this end of the connection.
  int port() const {
    sockaddr_in own{};
    socklen_t size = sizeof(own);
    getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&own), &size);
    return ntohs(own.sin_port);
  }
  void Send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // what it reads will tell
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // The next bytes, at most so many; empty: the end, or patience was.
  std::string ReadSome(std::size_t most = 16 << 10) const {
    std::array<char, 16 << 10> buffer{};
    const ssize_t bytes = recv(socket_.get(), buffer.data(), std::min(most, buffer.size()), 0);
    return bytes > 0 ? std::string(buffer.data(), static_cast<std::size_t>(bytes)) : "";
  }
  std::string ReadUntil(std::string_view text) {
    while (received_.find(text) == received_.npos) {
      const std::string more = ReadSome();
      if (more.empty()) break;
      received_ += more;
    }
    const std::size_t found = received_.find(text);
    const std::size_t end = found == received_.npos ? received_.size() : found + text.size();
    std::string read = received_.substr(0, end);
    received_.erase(0, end);
    return read;
  }
  std::string ReadToEnd() {
    for (std::string more = ReadSome(); !more.empty(); more = ReadSome()) received_ += more;
    return std::exchange(received_, "");
  }
  // Abruptly: with a reset, rather than an end.
  void Close(bool abruptly = false) {
    const linger at_once{.l_onoff = abruptly ? 1 : 0, .l_linger = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    socket_ = rpc::FileDescriptor();
  }

 private:
  rpc::FileDescriptor socket_;
  bool is_connected_ = false;
  std::string received_;
};

struct Reply {
  int status = 0;
  std::string head;
  std::string body;  // without chunks

  std::string field(const std::string& name) const {
    std::smatch match;
    const std::regex line("\r\n" + name + ": ([^\r]*)", std::regex::icase);
    return std::regex_search(head, match, line) ? match[1].str() : "";
  }
};

inline std::string Unchunked(std::string_view text) {
  std::string body;
  while (true) {
    const std::size_t line = text.find("\r\n");
    if (line == text.npos) return body + "(cut)";
    const std::size_t size = std::stoul(std::string(text.substr(0, line)), nullptr, 16);
    if (size == 0) return body;
    body.append(text.substr(line + 2, size));
    text.remove_prefix(std::min(text.size(), line + 2 + size + 2));
  }
}

inline Reply ParseReply(const std::string& text) {
  Reply reply;
  const std::size_t end = text.find("\r\n\r\n");
  if (!text.starts_with("HTTP/1.1 ") || end == text.npos) return reply;
  reply.status = std::stoi(text.substr(9));
  reply.head = text.substr(0, end + 2);
  reply.body = text.substr(end + 4);
  if (reply.field("transfer-encoding") == "chunked") reply.body = Unchunked(reply.body);
  return reply;
}

using Fields = std::vector<std::pair<std::string, std::string>>;

inline std::string MakeRequestText(const std::string& method, const std::string& path,
                                   const std::string& body = "", const Fields& fields = {}) {
  std::string text = absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: localhost\r\n");
  if (!body.empty()) {
    absl::StrAppend(&text, "Content-Type: application/json\r\nContent-Length: ", body.size(),
                    "\r\n");
  }
  for (const auto& [name, value] : fields) absl::StrAppend(&text, name, ": ", value, "\r\n");
  return absl::StrCat(text, "\r\n", body);
}

// On a connection of its own.
inline Reply Ask(int port, const std::string& method, const std::string& path,
                 const std::string& body = "", Fields fields = {}) {
  fields.emplace_back("Connection", "close");
  RawClient client(port);
  client.Send(MakeRequestText(method, path, body, fields));
  return ParseReply(client.ReadToEnd());
}

// What differs from run to run, by a word.
inline std::string Normalised(std::string text) {
  text = std::regex_replace(text, std::regex("cmpl-[0-9a-f]{32}"), "cmpl-ID");
  text = std::regex_replace(text, std::regex("\"(resp|rs|msg)_[0-9a-f]{32}"), "\"$1_ID");
  text = std::regex_replace(text, std::regex("\"created(_at)?\":[0-9]+"), "\"created$1\":1");
  text = std::regex_replace(text, std::regex("\"seed\":[0-9]+"), "\"seed\":1");
  return text;
}

}  // namespace thinkwire::router::http
