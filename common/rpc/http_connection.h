#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "common/peer_limits.h"
#include "common/rpc/listener.h"

namespace thinkwire::rpc {

// The whole answer to the request that `header` begins with: what `page` returns for GET of
// "/metrics" or "/", its length alone for HEAD, else an error, as for a header of more than
// kMaxHttpHeaderBytes. RFC 9112 says how they look.
std::string AnswerHttp(absl::string_view header, const std::function<std::string()>& page);

// One HTTP/1.1 request over a socket, and its answer, after which the connection ends; whatever the
// peer sends beyond is read and thrown away, as closing a socket with unread bytes resets it, which
// may take from the peer what it has not read yet.
// Never waits: who owns it polls the socket for what is wanted.
// Threads: one at a time.
class HttpConnection {
 public:
  enum class Wants {
    kInput,   // GoOn once there is something to read
    kOutput,  // GoOn once there is room to write
    kAnswer,  // Answer
    kEnd,     // nothing any more
  };

  explicit HttpConnection(FileDescriptor socket) : socket_(std::move(socket)) {}

  int fd() const { return socket_.get(); }

  // Reads or writes what can be had now, once.
  Wants GoOn();

  // After kAnswer: the request's line and header, and `answer` to it. Once each.
  std::string TakeHeader() { return std::move(received_); }
  Wants Answer(std::string answer);

 private:
  Wants Read();
  Wants Write();
  Wants Discard();

  FileDescriptor socket_;
  std::string received_;      // until there is an answer
  std::string answer_;        // empty: none yet
  std::size_t num_sent_ = 0;  // bytes of the answer
};

}  // namespace thinkwire::rpc
