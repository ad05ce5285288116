#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "router/http/transport.h"

namespace thinkwire::router::http {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;

class Plain final : public Transport {
 public:
  explicit Plain(Socket socket) : socket_(std::move(socket)) {}

  asio::any_io_executor strand() override { return socket_.get_executor(); }
  void Handshake(Handler handler) override {
    asio::post(socket_.get_executor(), [handler = std::move(handler)] { handler({}, 0); });
  }
  void Read(asio::mutable_buffer buffer, Handler handler) override {
    socket_.async_read_some(buffer, std::move(handler));
  }
  void Write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(socket_, buffer, std::move(handler));
  }
  void EndWrites(Handler handler) override {
    Error ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    Handshake(std::move(handler));
  }
  void Close() override {
    Error ignored;
    socket_.close(ignored);
  }

 private:
  Socket socket_;
};

}  // namespace

std::unique_ptr<Transport> PlainTransport(Socket socket) {
  return std::make_unique<Plain>(std::move(socket));
}

}  // namespace thinkwire::router::http
