#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <vector>

#include "common/tls_files.h"

namespace thinkwire {

// A certificate authority for tests, in memory: what it signs is good from an hour ago for a day,
// unless a test wants otherwise.
class TestCa {
 public:
  explicit TestCa(const std::string& name);
  ~TestCa();
  TestCa(const TestCa&) = delete;
  TestCa& operator=(const TestCa&) = delete;

  struct Subject {
    std::string common_name = "test";
    // As OpenSSL's configuration has them.
    std::string alternative_names = "IP:127.0.0.1,DNS:localhost";
    long from_s = -3600;  // NOLINT(google-runtime-int): OpenSSL's; from now
    long to_s = 86400;    // NOLINT(google-runtime-int): likewise
    int rsa_bits = 0;     // 0: a key on the curve P-256
  };
  struct Issued {
    std::string certificate;  // PEM, as the key
    std::string key;
  };
  Issued Issue(const Subject& subject) const;
  Issued Issue() const { return Issue({}); }

  // Its own certificate, in PEM.
  std::string certificate() const;

 private:
  EVP_PKEY* const key_;
  X509* const certificate_;
};

// A key in PEM, encrypted with a password.
std::string EncryptedKey(const std::string& key);

// A folder for one test process's PEM files, gone with this.
class TlsFolder {
 public:
  TlsFolder();
  ~TlsFolder();
  TlsFolder(const TlsFolder&) = delete;
  TlsFolder& operator=(const TlsFolder&) = delete;

  // Writes a file as a whole, by a rename. Returns its path.
  std::string Write(const std::string& name, const std::string& text) const;
  // "NAME.crt" and "NAME.key", and "NAME-ca.crt" if `ca` is not empty.
  TlsFiles Write(const std::string& name, const TestCa::Issued& issued,
                 const std::string& ca = "") const;

 private:
  std::string path_;
};

}  // namespace thinkwire
