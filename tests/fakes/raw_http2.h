#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/rpc/listener.h"

struct nghttp2_hd_inflater;

namespace thinkwire {

// An HTTP/2 client over one plain socket that does what a test says and nothing more, also what no
// library would do: keep its window shut, leave calls half open, reset them, ignore pings. Bytes
// are read only in Read and ReadUntil, and while a send waits for the server.
// RFC 9113 (frames), RFC 7541 (headers; ours are literals), gRPC's PROTOCOL-HTTP2.
// Owns: the connection. Threads: one at a time.
class RawHttp2 {
 public:
  static constexpr std::uint32_t kDefaultWindow = 65535;
  static constexpr Clock::Duration kPatience = std::chrono::seconds(60);

  using Headers = std::vector<std::pair<std::string, std::string>>;

  struct Options {
    int port = 0;
    std::string source = "127.0.0.1";       // the address that it dials from and to 127.0.0.1
    std::uint32_t window = kDefaultWindow;  // bytes that the server may send on each new stream
    bool answers_pings = true;
    bool reopens_windows = true;   // as far as data was read; false: a window is used up for good
    int receive_buffer_bytes = 0;  // of the socket, about; 0: the kernel's choice
  };

  struct Frame {
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
    std::string payload{};
  };

  // What the server has sent on one stream so far.
  struct Stream {
    Headers headers;     // the first block, if others came; empty before
    Headers trailers;    // the block that ended it
    std::string data;    // DATA payloads
    bool ended = false;  // by trailers
    bool reset = false;  // by RST_STREAM, of which:
    std::uint32_t reset_code = 0;

    bool over() const { return ended || reset; }
    // The complete gRPC messages in `data`.
    std::vector<std::string> Messages() const;
    // grpc-status, grpc-message and the error's details. REQUIRES: ended.
    absl::Status Status() const;
  };

  // Connects and sends preface and settings. A failure is a failed test, and a closed connection.
  explicit RawHttp2(Options options);
  ~RawHttp2();
  RawHttp2(const RawHttp2&) = delete;
  RawHttp2& operator=(const RawHttp2&) = delete;

  // `message` as gRPC frames it.
  static std::string GrpcMessage(std::string_view message);

  // Sends a gRPC call's headers, and leaves it open. `path` as "/package.Service/Method".
  std::uint32_t OpenCall(const std::string& path, const Headers& more = {});
  // The same with its one message, framed, and the end of the client's side.
  std::uint32_t Call(const std::string& path, std::string_view message, const Headers& more = {});

  // Waits for the server's windows, at most kPatience. False: the connection is closed, or they
  // stayed shut.
  bool SendData(std::uint32_t stream, std::string_view bytes, bool end);
  void Reset(std::uint32_t stream);  // CANCEL
  // `stream` 0: the connection's window.
  void OpenWindow(std::uint32_t stream, std::uint32_t bytes);
  bool SendFrame(const Frame& frame);

  // Reads what has arrived, or arrives within `patience`. False: nothing did, or it is closed.
  bool Read(Clock::Duration patience);
  // Reads until `done`. False: not within `patience`, or the connection was closed before.
  bool ReadUntil(const std::function<bool()>& done, Clock::Duration patience = kPatience);
  // Reads until the stream is over.
  bool ReadUntilOver(std::uint32_t stream, Clock::Duration patience = kPatience);

  const Stream& stream(std::uint32_t id) { return streams_[id]; }
  void Forget(std::uint32_t stream) { streams_.erase(stream); }
  // The server has closed the connection, or it broke.
  bool closed() const { return closed_; }
  bool told_to_go() const { return told_to_go_; }             // GOAWAY
  int pings() const { return pings_; }                        // that the server sent
  std::uint32_t max_streams() const { return max_streams_; }  // as the server's settings say

 private:
  bool Connect();
  bool SendBytes(std::string_view bytes);
  bool WaitForWindow(std::uint32_t stream);
  // Reads what is there, without waiting.
  void Receive();
  void TakeFrames();
  void Take(Frame frame);
  void TakeHeaders(const Frame& frame);
  void TakeData(const Frame& frame);
  void TakeSettings(const Frame& frame);
  void TakeWindow(const Frame& frame);

  const Options options_;
  rpc::FileDescriptor socket_;
  std::unique_ptr<nghttp2_hd_inflater, void (*)(nghttp2_hd_inflater*)> inflater_;
  std::map<std::uint32_t, Stream> streams_;
  std::string received_;      // not yet a frame
  std::string headers_;       // of a block that goes on
  bool headers_end_ = false;  // and that it ends its stream
  std::uint32_t next_stream_ = 1;
  std::int64_t send_window_ = kDefaultWindow;
  std::int64_t first_send_window_ = kDefaultWindow;
  std::map<std::uint32_t, std::int64_t> send_windows_;  // of open streams
  std::uint32_t max_streams_ = 0;
  int pings_ = 0;
  bool told_to_go_ = false;
  bool closed_ = false;
};

}  // namespace thinkwire
