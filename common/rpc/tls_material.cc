#include "common/rpc/tls_material.h"

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/file.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire::rpc {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Freed<BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;

absl::Status Wrong(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", View(what)));
}

// OpenSSL's own word on what has just failed; its queue of errors is empty then.
std::string TakeError() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason == nullptr ? "OpenSSL does not take it" : reason;
}

Bio Open(const std::string& pem) {
  Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  CHECK(bio != nullptr, "memory of a few bytes");
  return bio;
}

// What was written to it.
std::string Taken(BIO& text) {
  const char* bytes = nullptr;
  const auto size = static_cast<std::size_t>(BIO_get_mem_data(&text, &bytes));
  return {bytes, size};
}

// All certificates of a file, in order. Fails: there is none, or one is broken.
absl::StatusOr<std::vector<Certificate>> ReadCertificates(const std::string& path,
                                                          const std::string& pem) {
  const Bio bio = Open(pem);
  std::vector<Certificate> all;
  while (Certificate one{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    all.push_back(std::move(one));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string why = TakeError();
  if (!at_end) return Wrong(path, absl::StrCat("a certificate is broken: ", why));
  if (all.empty()) return Wrong(path, "has no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  return all;
}

// An encrypted key would have a server ask its terminal for the password.
int NoPassword(char* /*password*/, int /*size*/, int /*encrypting*/, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

absl::StatusOr<Key> ReadKey(const std::string& path, const std::string& pem) {
  const Bio bio = Open(pem);
  bool encrypted = false;
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassword, &encrypted));
  ERR_clear_error();
  if (encrypted) return Wrong(path, "the key is encrypted; there is nobody to ask for a password");
  if (key == nullptr) return Wrong(path, "has no private key in PEM (-----BEGIN PRIVATE KEY-----)");
  return key;
}

absl::Time TimeOf(const ASN1_TIME& time) {
  std::tm parts{};
  CHECK(ASN1_TIME_to_tm(&time, &parts) == 1, "a parsed certificate has times");
  return absl::FromTM(parts, absl::UTCTimeZone());
}

std::string Shown(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

absl::Status CheckDates(const std::string& path, const X509& certificate, absl::Time now) {
  const absl::Time not_after = TimeOf(*X509_get0_notAfter(&certificate));
  const absl::Time not_before = TimeOf(*X509_get0_notBefore(&certificate));
  if (not_after < now) return Wrong(path, absl::StrCat("expired on ", Shown(not_after)));
  if (not_before > now) return Wrong(path, absl::StrCat("is not valid before ", Shown(not_before)));
  return absl::OkStatus();
}

// "CN=router,O=Example".
std::string SubjectOf(const X509& certificate) {
  const Bio text(BIO_new(BIO_s_mem()));
  CHECK(text != nullptr, "memory of a few bytes");
  X509_NAME_print_ex(text.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_RFC2253);
  return ShownText(Taken(*text));
}

// As a handshake takes them, which refuses keys that are too short.
absl::Status CheckForHandshake(const TlsFiles& files, X509& certificate, EVP_PKEY& key) {
  const Context context(SSL_CTX_new(TLS_method()));
  CHECK(context != nullptr, "memory of a few bytes");
  if (SSL_CTX_use_certificate(context.get(), &certificate) != 1) {
    return Wrong(files.certificate, TakeError());
  }
  if (X509_check_private_key(&certificate, &key) != 1) {
    ERR_clear_error();
    return Wrong(files.key,
                 absl::StrCat("is not the key of the certificate in ", files.certificate));
  }
  if (SSL_CTX_use_PrivateKey(context.get(), &key) != 1) return Wrong(files.key, TakeError());
  return absl::OkStatus();
}

// Certificates and key alone, of files that may hold both, or notes.
std::string Pem(const std::vector<Certificate>& chain, const EVP_PKEY& key) {
  const Bio text(BIO_new(BIO_s_mem()));
  for (const Certificate& one : chain) {
    CHECK(PEM_write_bio_X509(text.get(), one.get()) == 1, "it was read from PEM");
  }
  CHECK(PEM_write_bio_PKCS8PrivateKey(text.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
        "it was read from PEM");
  return Taken(*text);
}

absl::Status ReadIdentity(const TlsFiles& files, absl::Time now, TlsMaterial& out) {
  ASSIGN_OR_RETURN(const std::string certificates, ReadFile(files.certificate, kMaxTlsFileBytes));
  ASSIGN_OR_RETURN(const std::string key_text, ReadFile(files.key, kMaxTlsFileBytes));
  ASSIGN_OR_RETURN(const auto chain, ReadCertificates(files.certificate, certificates));
  ASSIGN_OR_RETURN(const Key key, ReadKey(files.key, key_text));
  RETURN_IF_ERROR(CheckForHandshake(files, *chain[0], *key));
  for (const Certificate& one : chain) RETURN_IF_ERROR(CheckDates(files.certificate, *one, now));
  out.identity = Pem(chain, *key);
  out.not_after = TimeOf(*X509_get0_notAfter(chain[0].get()));
  out.subject = SubjectOf(*chain[0]);
  return absl::OkStatus();
}

// A bundle may keep some that have expired.
absl::Status ReadCa(const std::string& path, absl::Time now, TlsMaterial& out) {
  ASSIGN_OR_RETURN(out.ca, ReadFile(path, kMaxTlsFileBytes));
  ASSIGN_OR_RETURN(const auto all, ReadCertificates(path, out.ca));
  absl::Status first;
  for (const Certificate& one : all) {
    const absl::Status dates = CheckDates(path, *one, now);
    if (dates.ok()) return absl::OkStatus();
    if (first.ok()) first = dates;
  }
  return first;
}

}  // namespace

absl::StatusOr<TlsMaterial> ReadTlsFiles(const TlsFiles& files) {
  TlsMaterial material{.not_after = absl::InfiniteFuture()};
  const absl::Time now = absl::Now();
  if (!files.certificate.empty()) RETURN_IF_ERROR(ReadIdentity(files, now, material));
  if (!files.ca.empty()) RETURN_IF_ERROR(ReadCa(files.ca, now, material));
  return material;
}

}  // namespace thinkwire::rpc
