#include "common/rpc/tls_material.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "tests/fakes/test_ca.h"

namespace thinkwire::rpc {
namespace {

class TlsMaterialTest : public testing::Test {
 protected:
  // Why the files are refused, with "CRT", "KEY" and "CA" for their paths.
  static std::string Refusal(const TlsFiles& files) {
    const auto material = ReadTlsFiles(files);
    EXPECT_FALSE(material.ok());
    if (material.ok()) return "";
    const std::string message(material.status().message());
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    return absl::StrReplaceAll(message,
                               {{files.certificate, "CRT"}, {files.key, "KEY"}, {files.ca, "CA"}});
  }
  TlsFiles Write(const TestCa::Issued& issued) const {
    return folder_.Write("x", issued, ca_.certificate());
  }

  const TestCa ca_{"ca"};
  const TlsFolder folder_;
};

TEST_F(TlsMaterialTest, HoldsCertificatesThenTheirKeyAndTheCa) {
  const TestCa::Issued issued = ca_.Issue({.common_name = "router"});
  const auto material = ReadTlsFiles(Write(issued));
  ASSERT_TRUE(material.ok()) << material.status();
  EXPECT_EQ(material->identity, issued.certificate + issued.key);
  EXPECT_EQ(material->ca, ca_.certificate());
  EXPECT_EQ(material->subject, "CN=router");
  EXPECT_GT(material->not_after, absl::Now() + absl::Hours(23));
  EXPECT_LT(material->not_after, absl::Now() + absl::Hours(25));
}

TEST_F(TlsMaterialTest, HoldsWhatThereIs) {
  const TlsFiles files = Write(ca_.Issue());
  const auto ca = ReadTlsFiles({.ca = files.ca});
  ASSERT_TRUE(ca.ok()) << ca.status();
  EXPECT_EQ(ca->identity, "");
  EXPECT_EQ(ca->not_after, absl::InfiniteFuture());
  const auto identity = ReadTlsFiles({.certificate = files.certificate, .key = files.key});
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_EQ(identity->ca, "");
}

// A file of both, as some tools write it, with another key that is not meant.
TEST_F(TlsMaterialTest, TakesNothingOfAFileButWhatItIsFor) {
  TestCa::Issued issued = ca_.Issue();
  issued.certificate = absl::StrCat("notes\n", ca_.Issue().key, issued.certificate);
  issued.key = absl::StrCat(ca_.certificate(), issued.key);
  const auto material = ReadTlsFiles(Write(issued));
  ASSERT_TRUE(material.ok()) << material.status();
  EXPECT_FALSE(absl::StrContains(material->identity, "notes"));
  EXPECT_TRUE(absl::EndsWith(
      issued.certificate,
      material->identity.substr(0, material->identity.find("-----BEGIN PRIVATE KEY"))));
}

TEST_F(TlsMaterialTest, RefusesFilesThatAreNotWhatTheyShouldBe) {
  const TestCa::Issued good = ca_.Issue();
  const auto refusal = [&](std::string certificate, std::string key) {
    return Refusal(Write({.certificate = std::move(certificate), .key = std::move(key)}));
  };
  EXPECT_EQ(refusal("", good.key), "CRT: has no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  EXPECT_EQ(refusal(good.key, good.key),
            "CRT: has no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  EXPECT_EQ(refusal(good.certificate, "x"),
            "KEY: has no private key in PEM (-----BEGIN PRIVATE KEY-----)");
  EXPECT_EQ(refusal(good.certificate, good.certificate),
            "KEY: has no private key in PEM (-----BEGIN PRIVATE KEY-----)");
  EXPECT_EQ(refusal(good.certificate, EncryptedKey(good.key)),
            "KEY: the key is encrypted; there is nobody to ask for a password");
  EXPECT_EQ(refusal(good.certificate, ca_.Issue().key),
            "KEY: is not the key of the certificate in CRT");
  EXPECT_TRUE(absl::StartsWith(refusal(good.certificate.substr(0, 300), good.key),
                               "CRT: a certificate is broken: "));
  EXPECT_TRUE(absl::StartsWith(
      refusal(absl::StrCat(good.certificate, good.certificate.substr(0, 300)), good.key),
      "CRT: a certificate is broken: "));
  const TestCa::Issued weak = ca_.Issue({.rsa_bits = 1024});
  EXPECT_EQ(refusal(weak.certificate, weak.key), "CRT: ee key too small");
}

TEST_F(TlsMaterialTest, RefusesCertificatesOfAnotherTime) {
  const std::string expired = Refusal(Write(ca_.Issue({.to_s = -60})));
  EXPECT_TRUE(absl::StartsWith(expired, "CRT: expired on 20")) << expired;
  const std::string early = Refusal(Write(ca_.Issue({.from_s = 3600})));
  EXPECT_TRUE(absl::StartsWith(early, "CRT: is not valid before 20")) << early;
}

TEST_F(TlsMaterialTest, WantsOneCaThatHasNotExpired) {
  const std::string expired = ca_.Issue({.to_s = -60}).certificate;
  const auto refusal = [&](const std::string& ca) {
    return Refusal({.ca = folder_.Write("ca", ca)});
  };
  EXPECT_TRUE(absl::StartsWith(refusal(expired), "CA: expired on "));
  EXPECT_EQ(refusal("x"), "CA: has no certificate in PEM (-----BEGIN CERTIFICATE-----)");
  EXPECT_TRUE(
      ReadTlsFiles({.ca = folder_.Write("ca", absl::StrCat(expired, ca_.certificate()))}).ok());
}

TEST_F(TlsMaterialTest, SaysWhichFileIsMissing) {
  TlsFiles files = Write(ca_.Issue());
  files.key += ".none";
  EXPECT_EQ(ReadTlsFiles(files).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StartsWith(Refusal(files), "KEY: "));
}

}  // namespace
}  // namespace thinkwire::rpc
