#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace boost::asio::ssl {
class context;
}  // namespace boost::asio::ssl

namespace thinkwire::router::http {

// The bytes of one connection, plain or TLS, so that whoever speaks HTTP over them need not know
// which. Threads: those of its strand, one at a time; each handler runs there, never inside the
// call that takes it. At most one read and one write are under way.
class Transport {
 public:
  using Handler = std::function<void(const boost::system::error_code& error, std::size_t bytes)>;

  virtual ~Transport() = default;

  virtual boost::asio::any_io_executor strand() = 0;
  // First. Bytes: 0.
  virtual void Handshake(Handler handler) = 0;
  // At least one byte, at most what the buffer takes, which lives until `handler`.
  virtual void Read(boost::asio::mutable_buffer buffer, Handler handler) = 0;
  // All of it; `buffer` lives until `handler`.
  virtual void Write(boost::asio::const_buffer buffer, Handler handler) = 0;
  // Tells the client that nothing follows, where it still can be told. No write is under way, and
  // none comes.
  virtual void EndWrites(Handler handler) = 0;
  // Ends whatever is under way with an error.
  virtual void Close() = 0;
  // The names of the verified certificate that the client has shown: subject alternative names in
  // their order, then the common name. Empty: none.
  virtual std::vector<std::string> CertificateNames() const { return {}; }
};

using Socket = boost::asio::ip::tcp::socket;

// `socket` has a strand as its executor.
std::unique_ptr<Transport> PlainTransport(Socket socket);
std::unique_ptr<Transport> TlsTransport(Socket socket,
                                        std::shared_ptr<boost::asio::ssl::context> context);

}  // namespace thinkwire::router::http
