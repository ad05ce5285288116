#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <climits>
#include <memory>
#include <utility>

#include "common/check.h"
#include "router/http/transport.h"

namespace thinkwire::router::http {
namespace {

namespace asio = boost::asio;
using Error = boost::system::error_code;

std::string Text(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

// As gRPC has it; empty: it is neither IPv4 nor IPv6.
std::string AddressText(const ASN1_OCTET_STRING* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(address) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(address) != 16) return "";
  const char* shown = inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size());
  return shown == nullptr ? "" : shown;
}

// Those that gRPC tells of too.
void AddAlternativeNames(X509* certificate, std::vector<std::string>& names) {
  auto* all = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type == GEN_DNS || name->type == GEN_URI || name->type == GEN_EMAIL) {
      names.push_back(Text(name->d.ia5));
    } else if (name->type == GEN_IPADD) {
      names.push_back(AddressText(name->d.iPAddress));
    }
  }
  GENERAL_NAMES_free(all);
}

void AddCommonName(X509* certificate, std::vector<std::string>& names) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return;
  names.push_back(Text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index))));
}

bool MustWait(const Error& error) {
  return error == asio::error::would_block || error == asio::error::try_again;
}

Socket& SocketOf(BIO* bio) { return *static_cast<Socket*>(BIO_get_data(bio)); }

int Send(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  Error error;
  const std::size_t sent =
      SocketOf(bio).send(asio::buffer(bytes, static_cast<std::size_t>(size)), 0, error);
  if (MustWait(error)) BIO_set_retry_write(bio);
  return error ? -1 : static_cast<int>(sent);
}

int Receive(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  Error error;
  const std::size_t came =
      SocketOf(bio).receive(asio::buffer(bytes, static_cast<std::size_t>(size)), 0, error);
  if (MustWait(error)) BIO_set_retry_read(bio);
  return error ? -1 : static_cast<int>(came);
}

// Nothing is kept here that could be flushed, and nothing else is asked for.
long Control(BIO* /*bio*/, int command, long /*number*/, void* /*data*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// OpenSSL's way to a Socket, which sends without signals and knows when it is closed.
const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    CHECK(made != nullptr, "a method of OpenSSL's can be made");
    BIO_meth_set_write(made, Send);
    BIO_meth_set_read(made, Receive);
    BIO_meth_set_ctrl(made, Control);
    return made;
  }();
  return method;
}

// OpenSSL on the socket itself: Asio's stream keeps four buffers of 17 KiB for each connection,
// whether anything goes through them or not. Keeps its context, which may be another's successor by
// now.
class Tls final : public Transport {
 public:
  Tls(Socket socket, std::shared_ptr<asio::ssl::context> context)
      : context_(std::move(context)),
        socket_(std::move(socket)),
        ssl_(SSL_new(context_->native_handle()), &SSL_free) {
    BIO* bio = BIO_new(SocketMethod());
    CHECK(ssl_ != nullptr && bio != nullptr, "a connection of OpenSSL's can be made");
    BIO_set_data(bio, &socket_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    Error ignored;
    socket_.non_blocking(true, ignored);
  }

  asio::any_io_executor strand() override { return socket_.get_executor(); }
  void Handshake(Handler handler) override {
    Run([this] { return SSL_accept(ssl_.get()); },
        [handler = std::move(handler)](Error error, std::size_t) { handler(error, 0); });
  }
  void Read(asio::mutable_buffer buffer, Handler handler) override {
    Run([this, buffer] { return SSL_read(ssl_.get(), buffer.data(), SizeOf(buffer)); },
        std::move(handler));
  }
  void Write(asio::const_buffer buffer, Handler handler) override {
    if (buffer.size() == 0) return Tell({}, 0, std::move(handler));
    Run([this, buffer] { return SSL_write(ssl_.get(), buffer.data(), SizeOf(buffer)); },
        std::move(handler));
  }
  // Waits for the client's close_notify too.
  void EndWrites(Handler handler) override {
    const auto shut_down = [this] {
      const int result = SSL_shutdown(ssl_.get());
      return result == 0 ? SSL_shutdown(ssl_.get()) : result;
    };
    Run(shut_down, [handler = std::move(handler)](Error error, std::size_t) { handler(error, 0); });
  }
  void Close() override {
    Error ignored;
    socket_.close(ignored);
  }
  std::vector<std::string> CertificateNames() const override {
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        SSL_get1_peer_certificate(ssl_.get()), &X509_free);
    std::vector<std::string> names;
    if (certificate == nullptr || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return names;
    AddAlternativeNames(certificate.get(), names);
    AddCommonName(certificate.get(), names);
    return names;
  }

 private:
  template <class Buffer>
  static int SizeOf(const Buffer& buffer) {
    return static_cast<int>(std::min<std::size_t>(buffer.size(), INT_MAX));
  }
  // One of OpenSSL's functions, and once more each time that the socket is ready for what it waits
  // for, until it has done something (> 0) or failed.
  template <class Act>
  void Run(Act act, Handler handler) {
    ERR_clear_error();
    const int result = act();
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_NONE:
        return Tell({}, static_cast<std::size_t>(result), std::move(handler));
      case SSL_ERROR_WANT_READ:
        return Await(Socket::wait_read, act, std::move(handler));
      case SSL_ERROR_WANT_WRITE:
        return Await(Socket::wait_write, act, std::move(handler));
      case SSL_ERROR_ZERO_RETURN:
        return Tell(asio::error::eof, 0, std::move(handler));
      default:
        return Tell(asio::error::connection_reset, 0, std::move(handler));
    }
  }
  // `handler` keeps this.
  template <class Act>
  void Await(Socket::wait_type event, Act act, Handler handler) {
    socket_.async_wait(event, [this, act, handler = std::move(handler)](Error error) mutable {
      if (error) return handler(error, 0);
      Run(act, std::move(handler));
    });
  }
  void Tell(Error error, std::size_t bytes, Handler handler) {
    asio::post(socket_.get_executor(),
               [error, bytes, handler = std::move(handler)] { handler(error, bytes); });
  }

  const std::shared_ptr<asio::ssl::context> context_;
  Socket socket_;
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;  // above the socket, which it does not own
};

}  // namespace

std::unique_ptr<Transport> TlsTransport(Socket socket,
                                        std::shared_ptr<asio::ssl::context> context) {
  return std::make_unique<Tls>(std::move(socket), std::move(context));
}

}  // namespace thinkwire::router::http
