#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/rpc/connection_table.h"
#include "common/rpc/shares.h"
#include "router/http/exchange.h"
#include "router/http/http_limits.h"
#include "router/http/message.h"
#include "router/http/transport.h"

namespace thinkwire::router::http {

// What connections do with requests, and what all of them share. Threads: any.
class Site {
 public:
  virtual ~Site() = default;
  // Begins to answer; must not block.
  virtual std::shared_ptr<Exchange> Answer(Request request) = 0;
  // The answer to what is no request, or came too late or too large.
  virtual std::shared_ptr<Exchange> Refuse(int status, const std::string& message) = 0;
  // Such a body may arrive; nullopt: too many do.
  virtual std::optional<rpc::Shares::Held> AdmitBody(const std::string& peer,
                                                     std::size_t bytes) = 0;
  // Whether connections end with the answer that they are at.
  virtual bool draining() const = 0;
  virtual const Patience& patience() const = 0;
  // One more exchange of the connection of that name, so that it is not idle.
  virtual rpc::ConnectionTable::Call BeginCall(const std::string& peer) = 0;
};

// One client's connection of HTTP/1.1 or 1.0: reads a request (RFC 9112, by Beast's parser), has it
// answered, sends that, and begins anew. While an answer is made it goes on reading, so that it
// sees at once that the client is gone: a client that ends its side before its answer is there
// counts as gone. What a client sends ahead waits, at most some 16 KiB of it.
//
// Each step has a time limit, the site's patience or one of http_limits.h. Threads: its transport's
// strand, but for Start and Drain, which are for any.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  // `entry` is that of the transport's socket. `site` outlives it. `on_end` is called when it has
  // ended, on the strand.
  Connection(std::unique_ptr<Transport> transport, rpc::ConnectionTable::Entry entry,
             std::string peer, Site& site, std::function<void()> on_end);
  ~Connection();

  void Start();
  // Ends now, or where `gently` once it has nothing to send.
  void Stop(bool gently);

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using Error = boost::system::error_code;
  enum class State { kReading, kAnswering, kLingering, kOver };

  void BeginRequest();
  void Parse();
  void TakeHeader();
  absl::Status CheckHeader();
  bool AdmitBody();
  void SendContinue();
  void Answer();
  void Refuse(int status, const std::string& message);
  void RefuseError(const Error& error);
  void Take(std::shared_ptr<Exchange> exchange);

  void Read();
  void OnRead(const Error& error, std::size_t bytes);
  void Pump();
  void Send(Exchange::Output output);
  void OnSent(const Error& error);
  void EndExchange();
  void Linger();
  void End();

  // `action` after `delay`, unless something else is awaited by then.
  void Await(std::chrono::steady_clock::duration delay, void (Connection::*action)());
  void StopWaiting();
  void OnSilence();
  void OnLateRequest();

  const std::unique_ptr<Transport> transport_;
  rpc::ConnectionTable::Entry entry_;  // until End
  const std::string peer_;             // as gRPC writes it
  Site& site_;
  std::function<void()> on_end_;
  std::vector<std::string> certificate_names_;
  boost::asio::steady_timer timer_;
  std::uint64_t awaited_ = 0;

  State state_ = State::kReading;
  std::optional<Parser> parser_;
  bool has_header_ = false;
  std::size_t header_bytes_ = 0;  // of it that the parser has taken
  Request request_;               // what its header says
  rpc::Shares::Held arriving_;
  std::string input_;      // that was read and not parsed
  std::string read_into_;  // the read that is under way
  bool reading_ = false;
  std::size_t discarded_ = 0;

  std::shared_ptr<Exchange> exchange_;
  rpc::ConnectionTable::Call call_;
  bool client_stays_ = false;  // it will have another request
  bool is_head_ = false;       // wants no body
  bool chunked_ = false;
  bool minor_ = false;  // it speaks HTTP/1.1
  bool output_ends_ = false;
  bool writing_ = false;
  bool stopping_ = false;
  std::string output_;
};

}  // namespace thinkwire::router::http
