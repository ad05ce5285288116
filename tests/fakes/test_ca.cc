#include "tests/fakes/test_ca.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace thinkwire {
namespace {

EVP_PKEY* MakeKey(int rsa_bits) {
  return rsa_bits == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(static_cast<unsigned int>(rsa_bits));
}

template <class Write>
std::string Pem(const Write& write) {
  BIO* const bio = BIO_new(BIO_s_mem());
  CHECK(write(bio) == 1, "OpenSSL writes PEM");
  const char* bytes = nullptr;
  const auto size = static_cast<std::size_t>(BIO_get_mem_data(bio, &bytes));
  std::string text(bytes, size);
  BIO_free(bio);
  return text;
}

std::string PemOf(const EVP_PKEY* key) {
  return Pem([&](BIO* bio) {
    return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

std::string PemOf(const X509* certificate) {
  return Pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}

void AddExtension(X509* certificate, int kind, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
  CHECK(extension != nullptr, "a test's own extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `ca_key`, or by itself.
X509* MakeCertificate(const TestCa::Subject& subject, EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key) {
  static std::atomic<int> serial = 1;
  X509* const certificate = X509_new();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate), subject.from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate), subject.to_s);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(subject.common_name.c_str()),
                             -1, -1, 0);
  X509_set_issuer_name(certificate, X509_get_subject_name(ca == nullptr ? certificate : ca));
  X509_set_pubkey(certificate, key);
  if (ca == nullptr) AddExtension(certificate, NID_basic_constraints, "critical,CA:TRUE");
  if (!subject.alternative_names.empty()) {
    AddExtension(certificate, NID_subject_alt_name, subject.alternative_names);
  }
  CHECK(X509_sign(certificate, ca_key, EVP_sha256()) > 0, "a key signs");
  return certificate;
}

}  // namespace

TestCa::TestCa(const std::string& name)
    : key_(MakeKey(0)),
      certificate_(
          MakeCertificate({.common_name = name, .alternative_names = ""}, key_, nullptr, key_)) {}

TestCa::~TestCa() {
  X509_free(certificate_);
  EVP_PKEY_free(key_);
}

TestCa::Issued TestCa::Issue(const Subject& subject) const {
  EVP_PKEY* const key = MakeKey(subject.rsa_bits);
  X509* const certificate = MakeCertificate(subject, key, certificate_, key_);
  Issued issued = {.certificate = PemOf(certificate), .key = PemOf(key)};
  X509_free(certificate);
  EVP_PKEY_free(key);
  return issued;
}

std::string TestCa::certificate() const { return PemOf(certificate_); }

std::string EncryptedKey(const std::string& key) {
  BIO* const bio = BIO_new_mem_buf(key.data(), static_cast<int>(key.size()));
  EVP_PKEY* const read = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  std::string text = Pem([&](BIO* out) {
    return PEM_write_bio_PKCS8PrivateKey(out, read, EVP_aes_128_cbc(), "password", 8, nullptr,
                                         nullptr);
  });
  EVP_PKEY_free(read);
  return text;
}

TlsFolder::TlsFolder() {
  std::string name = absl::StrCat(testing::TempDir(), "tls-XXXXXX");
  CHECK(mkdtemp(name.data()) != nullptr, "a folder for a test");
  path_ = name;
}

TlsFolder::~TlsFolder() { std::filesystem::remove_all(path_); }

std::string TlsFolder::Write(const std::string& name, const std::string& text) const {
  const std::string path = absl::StrCat(path_, "/", name);
  const std::string fresh = absl::StrCat(path, ".new");
  std::ofstream(fresh) << text;
  std::filesystem::rename(fresh, path);
  return path;
}

TlsFiles TlsFolder::Write(const std::string& name, const TestCa::Issued& issued,
                          const std::string& ca) const {
  return {.certificate = Write(absl::StrCat(name, ".crt"), issued.certificate),
          .key = Write(absl::StrCat(name, ".key"), issued.key),
          .ca = ca.empty() ? "" : Write(absl::StrCat(name, "-ca.crt"), ca)};
}

}  // namespace thinkwire
