#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "common/tls_files.h"
#include "tests/router/http/http_client.h"

namespace thinkwire::router::http {

// A RawClient that speaks TLS and believes whoever answers; it shows a certificate if there is one.
// Threads: one at a time.
class TlsClient {
 public:
  explicit TlsClient(int port, int receive_buffer = 0, const TlsFiles& certificate = {})
      : client_(port, receive_buffer),
        context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free),
        ssl_(SSL_new(context_.get()), &SSL_free) {
    if (!certificate.certificate.empty()) {
      SSL_use_certificate_chain_file(ssl_.get(), certificate.certificate.c_str());
      SSL_use_PrivateKey_file(ssl_.get(), certificate.key.c_str(), SSL_FILETYPE_PEM);
    }
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    is_connected_ = Run([this] { return SSL_connect(ssl_.get()); }) == 1;
  }

  bool is_connected() const { return is_connected_; }
  void Send(std::string_view bytes) {
    if (bytes.empty()) return;
    Run([&] { return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); });
  }
  // As RawClient's.
  std::string ReadSome(std::size_t most = 16 << 10) {
    std::array<char, 16 << 10> buffer{};
    const int size = static_cast<int>(std::min(most, buffer.size()));
    const int bytes = Run([&] { return SSL_read(ssl_.get(), buffer.data(), size); });
    return bytes > 0 ? std::string(buffer.data(), static_cast<std::size_t>(bytes)) : "";
  }
  std::string ReadToEnd() {
    std::string all;
    for (std::string more = ReadSome(); !more.empty(); more = ReadSome()) all += more;
    return all;
  }
  // Without a word of TLS.
  void Close(bool abruptly = false) { client_.Close(abruptly); }

 private:
  // One of OpenSSL's functions, until it has done something (> 0) or nothing comes any more.
  template <class Act>
  int Run(Act act) {
    while (true) {
      ERR_clear_error();
      const int result = act();
      const bool waits = SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
      SendWhatIsWritten();
      if (!waits) return result;
      const std::string came = client_.ReadSome();
      if (came.empty()) return result;
      BIO_write(SSL_get_rbio(ssl_.get()), came.data(), static_cast<int>(came.size()));
    }
  }
  void SendWhatIsWritten() {
    BIO* written = SSL_get_wbio(ssl_.get());
    std::string bytes(BIO_ctrl_pending(written), '\0');
    if (bytes.empty()) return;
    BIO_read(written, bytes.data(), static_cast<int>(bytes.size()));
    client_.Send(bytes);
  }

  RawClient client_;
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  bool is_connected_ = false;
};

}  // namespace thinkwire::router::http
