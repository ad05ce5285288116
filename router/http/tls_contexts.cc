#include "router/http/tls_contexts.h"

#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status.h"

namespace thinkwire::router::http {
namespace {

namespace asio = boost::asio;
using Context = asio::ssl::context;

constexpr unsigned char kProtocols[] = "\x08http/1.1";

std::vector<std::filesystem::path> PathsOf(const TlsFiles& files) {
  std::vector<std::filesystem::path> paths;
  for (const std::string* path : {&files.certificate, &files.key, &files.ca}) {
    if (!path->empty()) paths.emplace_back(*path);
  }
  return paths;
}

// A client that offers nothing of ours goes on without ALPN, as many do.
int ChooseProtocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* offered, unsigned int offered_size, void* /*unused*/) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): OpenSSL's signature
  auto** chosen = const_cast<unsigned char**>(out);
  const int result = SSL_select_next_proto(chosen, out_size, kProtocols, sizeof(kProtocols) - 1,
                                           offered, offered_size);
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

void SetRules(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_alpn_select_cb(context, ChooseProtocol, nullptr);
}

absl::StatusOr<std::shared_ptr<Context>> MakeContext(const TlsFiles& files) {
  ASSIGN_OR_RETURN(const rpc::TlsMaterial material, rpc::ReadTlsFiles(files));
  auto context = std::make_shared<Context>(Context::tls_server);
  SetRules(context->native_handle());
  boost::system::error_code error;
  context->use_certificate_chain(asio::buffer(material.identity), error);
  if (!error) context->use_private_key(asio::buffer(material.identity), Context::pem, error);
  if (!error && !material.ca.empty()) {
    context->add_certificate_authority(asio::buffer(material.ca), error);
    context->set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  }
  if (!error) return context;
  return absl::InvalidArgumentError(absl::StrCat(files.certificate, ": ", error.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<TlsContexts>> TlsContexts::Load(const TlsFiles& files,
                                                               Clock::Duration look_every) {
  // Before they are read, so that no change falls between.
  std::unique_ptr<TlsContexts> contexts(new TlsContexts(files, look_every));
  ASSIGN_OR_RETURN(auto context, MakeContext(files));
  contexts->Set(std::move(context));
  contexts->watch_.Start();
  return contexts;
}

TlsContexts::TlsContexts(const TlsFiles& files, Clock::Duration look_every)
    : files_(files),
      watch_(
          PathsOf(files), [this] { Reload(); }, look_every) {}

std::shared_ptr<Context> TlsContexts::Get() const {
  MutexLock lock(mu_);
  return context_;
}

void TlsContexts::Set(std::shared_ptr<Context> context) {
  MutexLock lock(mu_);
  context_.swap(context);
}

void TlsContexts::Reload() {
  auto context = MakeContext(files_);
  if (!context.ok()) {
    LogWarning("certificates of the HTTP door not reloaded: the old ones stay",
               {{"error", std::string(context.status().message())}});
    return;
  }
  Set(*std::move(context));
  LogInfo("certificates of the HTTP door reloaded");
}

}  // namespace thinkwire::router::http
