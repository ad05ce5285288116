#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <utility>

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

// Keeps its context, which may be another's successor by now.
class Tls final : public Transport {
 public:
  Tls(Socket socket, std::shared_ptr<asio::ssl::context> context)
      : context_(std::move(context)), stream_(std::move(socket), *context_) {}

  asio::any_io_executor strand() override { return stream_.get_executor(); }
  void Handshake(Handler handler) override {
    stream_.async_handshake(asio::ssl::stream_base::server,
                            [handler = std::move(handler)](Error error) { handler(error, 0); });
  }
  void Read(asio::mutable_buffer buffer, Handler handler) override {
    stream_.async_read_some(buffer, std::move(handler));
  }
  void Write(asio::const_buffer buffer, Handler handler) override {
    asio::async_write(stream_, buffer, std::move(handler));
  }
  // Waits for the client's close_notify too.
  void EndWrites(Handler handler) override {
    stream_.async_shutdown([handler = std::move(handler)](Error error) { handler(error, 0); });
  }
  void Close() override {
    Error ignored;
    stream_.lowest_layer().close(ignored);
  }
  std::vector<std::string> CertificateNames() const override {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): native_handle changes nothing
    SSL* ssl = const_cast<Tls*>(this)->stream_.native_handle();
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl),
                                                                  &X509_free);
    std::vector<std::string> names;
    if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return names;
    AddAlternativeNames(certificate.get(), names);
    AddCommonName(certificate.get(), names);
    return names;
  }

 private:
  const std::shared_ptr<asio::ssl::context> context_;
  asio::ssl::stream<Socket> stream_;
};

}  // namespace

std::unique_ptr<Transport> TlsTransport(Socket socket,
                                        std::shared_ptr<asio::ssl::context> context) {
  return std::make_unique<Tls>(std::move(socket), std::move(context));
}

}  // namespace thinkwire::router::http
