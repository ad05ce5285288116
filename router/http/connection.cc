#include "router/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/verb.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/strings.h"
#include "router/http/http_limits.h"

namespace thinkwire::router::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using beast::http::field;

constexpr std::size_t kReadBytes = 16 << 10;
constexpr std::size_t kWatchBytes = 512;  // of a read that mostly waits for the end
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string Copy(beast::string_view text) { return {text.data(), text.size()}; }

// Lets go of its memory, which an assignment of an empty string keeps.
void Release(std::string& text) { std::string().swap(text); }

// What the client is told of what the parser refused.
std::pair<int, std::string> Describe(const boost::system::error_code& error) {
  using E = beast::http::error;
  if (error == E::header_limit || error == E::buffer_overflow) {
    return {431,
            absl::StrCat("the header, or a chunk's, has more than ", kMaxHeaderBytes, " bytes")};
  }
  if (error == E::body_limit) {
    return {413, absl::StrCat("the body has more than ", kMaxBodyBytes, " bytes")};
  }
  if (error == E::bad_version) return {505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  return {400, absl::StrCat("this is no HTTP request: ", error.message())};
}

// All but the body.
Request MakeRequest(const beast::http::request_header<>& header) {
  Request request{.method = Copy(header.method_string())};
  const std::string target = Copy(header.target());
  request.path = target.substr(0, target.find('?'));
  for (const auto& entry : header) {
    std::string name = absl::AsciiStrToLower(Copy(entry.name_string()));
    const auto [found, is_new] = request.headers.emplace(std::move(name), Copy(entry.value()));
    if (!is_new) absl::StrAppend(&found->second, ", ", Copy(entry.value()));
  }
  return request;
}

}  // namespace

Connection::Connection(std::unique_ptr<Transport> transport, rpc::ConnectionTable::Entry entry,
                       std::string peer, Site& site, std::function<void()> on_end)
    : transport_(std::move(transport)),
      entry_(std::move(entry)),
      peer_(std::move(peer)),
      site_(site),
      on_end_(std::move(on_end)),
      timer_(transport_->strand()) {}

Connection::~Connection() { End(); }

void Connection::Start() {
  asio::post(transport_->strand(), [self = shared_from_this()] {
    self->Await(self->site_.patience().handshake, &Connection::End);
    self->transport_->Handshake([self](const Error& error, std::size_t) {
      if (error || self->state_ == State::kOver) return self->End();
      self->certificate_names_ = self->transport_->CertificateNames();
      self->BeginRequest();
    });
  });
}

void Connection::Stop(bool gently) {
  asio::post(transport_->strand(), [self = shared_from_this(), gently] {
    self->stopping_ = true;
    const bool idle = self->state_ == State::kReading && !self->has_header_;
    if (!gently || idle) self->End();
  });
}

void Connection::BeginRequest() {
  if (stopping_) return Linger();
  state_ = State::kReading;
  has_header_ = false;
  header_bytes_ = 0;
  parser_.emplace();
  parser_->header_limit(kMaxHeaderBytes);
  parser_->body_limit(kMaxBodyBytes);
  Await(input_.empty() ? site_.patience().idle : site_.patience().header,
        input_.empty() ? &Connection::End : &Connection::OnLateRequest);
  if (input_.empty()) return Read();
  Parse();
}

// As far as what was read goes. Beast's own limit is of what it is given at once, so that a header
// that comes line by line passes it, and chunks' extensions and trailers have none; it takes a
// field only once it is whole, and what waits for its rest is counted here.
void Connection::Parse() {
  while (state_ == State::kReading) {
    if (input_.empty()) return Read();
    Error error;
    const std::size_t used = parser_->put(asio::buffer(input_), error);
    input_.erase(0, used);
    if (!has_header_) header_bytes_ += used;
    const bool waits = error == beast::http::error::need_more;
    if (header_bytes_ + (waits ? input_.size() : 0) > kMaxHeaderBytes) {
      return RefuseError(beast::http::error::header_limit);
    }
    if (waits) return Read();
    if (error) return RefuseError(error);
    if (!has_header_) {
      TakeHeader();
    } else if (parser_->is_done()) {
      return Answer();
    }
  }
}

void Connection::TakeHeader() {
  has_header_ = true;
  header_bytes_ = 0;
  parser_->eager(true);
  // Now: the parser puts the trailers of a body among the fields, and nobody has checked those.
  request_ = MakeRequest(parser_->get());
  if (const absl::Status status = CheckHeader(); !status.ok()) {
    return Refuse(400, std::string(status.message()));
  }
  if (parser_->is_done()) return Answer();
  if (!AdmitBody()) return Refuse(429, "too many requests arrive at once");
  Await(site_.patience().body, &Connection::OnLateRequest);
  if (absl::EqualsIgnoreCase(Copy(parser_->get()[field::expect]), "100-continue")) SendContinue();
}

// What a proxy might read differently, and so another's request into it: Beast takes a
// Transfer-Encoding that does not end in "chunked" for no body.
absl::Status Connection::CheckHeader() {
  const auto& header = parser_->get();
  minor_ = header.version() >= 11;
  if (header.count(field::transfer_encoding) > 0 &&
      (header.count(field::transfer_encoding) > 1 ||
       !absl::EqualsIgnoreCase(Copy(header[field::transfer_encoding]), "chunked"))) {
    return absl::InvalidArgumentError("Transfer-Encoding can only be chunked here");
  }
  if (header.count(field::host) != 1 && (minor_ || header.count(field::host) > 1)) {
    return absl::InvalidArgumentError("a request has one Host");
  }
  if (header.target().empty() || header.target().front() != '/') {
    if (header.method() == beast::http::verb::options && header.target() == "*") {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError("the request's target must be a path");
  }
  return absl::OkStatus();
}

bool Connection::AdmitBody() {
  const auto length = parser_->content_length();
  if (length && *length > kMaxBodyBytes) return true;  // the parser refuses it
  auto held = site_.AdmitBody(peer_, length.value_or(kMaxBodyBytes));
  if (!held) return false;
  arriving_ = *std::move(held);
  return true;
}

// A few bytes that the socket has room for: nothing else is on its way to the client.
void Connection::SendContinue() {
  if (writing_) return;
  writing_ = true;
  transport_->Write(asio::buffer(kContinue.data(), kContinue.size()),
                    [self = shared_from_this()](const Error& error, std::size_t) {
                      self->writing_ = false;
                      if (error) return self->End();
                      self->Pump();
                    });
}

void Connection::Answer() {
  beast::http::request<beast::http::string_body> message = parser_->release();
  parser_.reset();
  client_stays_ = message.keep_alive();
  is_head_ = message.method() == beast::http::verb::head;
  Request request = std::exchange(request_, {});
  request.body = std::move(message.body());
  request.peer = peer_;
  request.certificate_names = certificate_names_;
  Take(site_.Answer(std::move(request)));
  arriving_ = {};
  Read();
}

// Whatever follows on this connection cannot be told apart from what was refused.
void Connection::Refuse(int status, const std::string& message) {
  client_stays_ = false;
  is_head_ = false;
  arriving_ = {};
  input_.clear();
  Take(site_.Refuse(status, message));
}

void Connection::RefuseError(const Error& error) {
  const auto [status, message] = Describe(error);
  minor_ = true;
  Refuse(status, message);
}

void Connection::Take(std::shared_ptr<Exchange> exchange) {
  state_ = State::kAnswering;
  StopWaiting();
  exchange_ = std::move(exchange);
  call_ = site_.BeginCall(peer_);
  exchange_->Attach([weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      asio::post(self->transport_->strand(), [self] { self->Pump(); });
    }
  });
  Pump();
}

void Connection::Read() {
  const bool ahead = state_ == State::kAnswering && input_.size() >= kReadBytes;
  if (reading_ || state_ == State::kOver || ahead) return;
  reading_ = true;
  read_into_.resize(state_ == State::kAnswering ? kWatchBytes : kReadBytes);
  transport_->Read(asio::buffer(read_into_),
                   [self = shared_from_this()](const Error& error, std::size_t bytes) {
                     self->OnRead(error, bytes);
                   });
}

void Connection::OnRead(const Error& error, std::size_t bytes) {
  reading_ = false;
  if (state_ == State::kOver) return;
  if (error) return End();
  if (state_ == State::kLingering) {
    discarded_ += bytes;
    return discarded_ > kMaxLingerBytes ? End() : Read();
  }
  const bool first = state_ == State::kReading && !has_header_ && input_.empty();
  input_.append(read_into_, 0, bytes);
  Release(read_into_);
  if (state_ == State::kAnswering) return Read();
  // The header's time runs from its first byte.
  if (first && parser_ && !parser_->got_some()) {
    Await(site_.patience().header, &Connection::OnLateRequest);
  }
  Parse();
}

// Sends what there is, or waits for the exchange to say that there is something.
void Connection::Pump() {
  if (writing_ || exchange_ == nullptr || state_ != State::kAnswering) return;
  Exchange::Output output = exchange_->Take();
  if (!output.head && output.body.empty() && !output.ends) {
    return Await(kKeepAliveInterval, &Connection::OnSilence);
  }
  Send(std::move(output));
}

void Connection::Send(Exchange::Output output) {
  output_.clear();
  output_ends_ = output.ends;
  if (output.head) {
    chunked_ = !output.head->content_length && minor_;
    // Without a length and without chunks the end of the connection is that of the answer.
    client_stays_ = client_stays_ && !output.head->closes && !stopping_ && !site_.draining() &&
                    (chunked_ || output.head->content_length);
    output_ =
        FormatHead(*output.head, {.chunked = chunked_, .keep_alive = client_stays_}, HttpDate());
  }
  if (!is_head_ && !output.body.empty()) {
    if (chunked_) absl::StrAppend(&output_, absl::Hex(output.body.size()), "\r\n");
    output_ += output.body;
    if (chunked_) output_ += "\r\n";
  }
  if (output.ends && chunked_ && !is_head_) output_ += "0\r\n\r\n";
  writing_ = true;
  Await(kWriteTimeout, &Connection::End);
  transport_->Write(
      asio::buffer(output_),
      [self = shared_from_this()](const Error& error, std::size_t) { self->OnSent(error); });
}

void Connection::OnSent(const Error& error) {
  writing_ = false;
  if (state_ == State::kOver) return;
  if (error) return End();
  StopWaiting();
  Release(output_);
  exchange_->Sent();
  if (output_ends_) return EndExchange();
  Pump();
}

void Connection::EndExchange() {
  std::exchange(exchange_, nullptr)->Detach();
  call_ = {};
  chunked_ = false;
  if (!client_stays_ || stopping_) return Linger();
  BeginRequest();
}

// To close a socket while something comes in may take from the client what it has not read yet.
void Connection::Linger() {
  state_ = State::kLingering;
  input_.clear();
  Await(kLingerTimeout, &Connection::End);
  transport_->EndWrites([self = shared_from_this()](const Error&, std::size_t) {
    if (self->state_ == State::kLingering) self->Read();
  });
}

void Connection::End() {
  if (state_ == State::kOver) return;
  state_ = State::kOver;
  timer_.cancel();
  entry_ = {};
  transport_->Close();
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->Lose();
    exchange->Detach();
  }
  call_ = {};
  arriving_ = {};
  on_end_();
}

void Connection::Await(std::chrono::steady_clock::duration delay, void (Connection::*action)()) {
  const std::uint64_t awaited = ++awaited_;
  timer_.expires_after(delay);
  timer_.async_wait([self = shared_from_this(), awaited, action](const Error& error) {
    if (!error && awaited == self->awaited_ && self->state_ != State::kOver)
      (self.get()->*action)();
  });
}

void Connection::StopWaiting() {
  ++awaited_;
  timer_.cancel();
}

void Connection::OnSilence() {
  if (exchange_ == nullptr) return;
  exchange_->OnIdle();
  Pump();
}

void Connection::OnLateRequest() {
  minor_ = true;
  Refuse(408, "the request has not arrived in time");
}

}  // namespace thinkwire::router::http
