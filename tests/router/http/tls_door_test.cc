// The door with certificates and keys.

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string>

#include "tests/fakes/test_ca.h"
#include "tests/router/http/keyed_door_fixture.h"

namespace thinkwire::router::http {
namespace {

TEST_F(KeyedDoorTest, AKeyIsNeededAndSaysWhoseTheCallIs) {
  Open({.needs_key = true});
  const Reply none = Chat();
  EXPECT_EQ(none.status, 401);
  EXPECT_EQ(none.field("www-authenticate"), "Bearer");
  EXPECT_EQ(Chat("", {{"Authorization", "Bearer nonsense"}}).status, 401);
  EXPECT_EQ(Ask(port(), "GET", "/v1/models").status, 401);
  EXPECT_EQ(small_.num_calls(), 0);
  EXPECT_EQ(Chat("", {{"Authorization", "Bearer " + std::string(64, 'a')}}).status, 200);
  EXPECT_EQ(small_.last_call().tenant, "search");
  EXPECT_EQ(Ask(port(), "GET", "/health").status, 200);
}

// A client of TLS, which shows `certificate` if there is one.
std::string AskTls(int port, const std::string& text, const TlsFiles& certificate = {}) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  if (!certificate.certificate.empty()) {
    SSL_CTX_use_certificate_chain_file(context.get(), certificate.certificate.c_str());
    SSL_CTX_use_PrivateKey_file(context.get(), certificate.key.c_str(), SSL_FILETYPE_PEM);
  }
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_ssl_connect(context.get()),
                                                          &BIO_free_all);
  BIO_set_conn_hostname(bio.get(), absl::StrCat("127.0.0.1:", port).c_str());
  if (BIO_do_connect(bio.get()) != 1) return "";
  BIO_write(bio.get(), text.data(), static_cast<int>(text.size()));
  std::string all;
  std::array<char, 4096> buffer{};
  for (int got = 1; got > 0;) {
    got = BIO_read(bio.get(), buffer.data(), static_cast<int>(buffer.size()));
    if (got > 0) all.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return all;
}

TEST_F(KeyedDoorTest, SpeaksTlsWithTheRoutersCertificate) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue())});
  const std::string get = MakeRequestText("GET", "/health", "", {{"Connection", "close"}});
  EXPECT_EQ(ParseReply(AskTls(port(), get)).status, 200);
  const std::string post =
      MakeRequestText("POST", kChatPath, ChatBody(R"(,"stream":true)"), {{"Connection", "close"}});
  EXPECT_NE(AskTls(port(), post).find("[DONE]"), std::string::npos);
  RawClient plain(port());
  plain.Send(get);
  EXPECT_EQ(plain.ReadToEnd().find("HTTP/1.1 200"), std::string::npos);
}

TEST_F(KeyedDoorTest, AClientsCertificateNamesItsTenant) {
  const TestCa ca("test CA");
  Open({.tls = folder_.Write("server", ca.Issue(), ca.certificate()), .needs_key = true});
  const std::string post =
      MakeRequestText("POST", kChatPath, ChatBody(), {{"Connection", "close"}});
  EXPECT_EQ(ParseReply(AskTls(port(), post)).status, 0);
  const TlsFiles client = folder_.Write(
      "client", ca.Issue({.common_name = "x", .alternative_names = "DNS:batch.example"}));
  EXPECT_EQ(ParseReply(AskTls(port(), post, client)).status, 200);
  EXPECT_EQ(small_.last_call().tenant, "batch");
  const TestCa other("another CA");
  const TlsFiles forged = folder_.Write(
      "forged", other.Issue({.common_name = "x", .alternative_names = "DNS:batch.example"}));
  EXPECT_EQ(ParseReply(AskTls(port(), post, forged)).status, 0);
}

}  // namespace
}  // namespace thinkwire::router::http
