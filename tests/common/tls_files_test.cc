#include "common/tls_files.h"

#include <gtest/gtest.h>

namespace thinkwire {
namespace {

TEST(TlsFilesTest, AServerNeedsCertificateAndKeyOrNeither) {
  EXPECT_TRUE(CheckServerTlsFiles({}, "--tls").ok());
  EXPECT_TRUE(CheckServerTlsFiles({.certificate = "c", .key = "k"}, "--tls").ok());
  EXPECT_TRUE(CheckServerTlsFiles({.certificate = "c", .key = "k", .ca = "a"}, "--tls").ok());
  const absl::Status pair = absl::InvalidArgumentError("--tls_cert and --tls_key go together");
  EXPECT_EQ(CheckServerTlsFiles({.certificate = "c"}, "--tls"), pair);
  EXPECT_EQ(CheckServerTlsFiles({.key = "k", .ca = "a"}, "--tls"), pair);
  EXPECT_EQ(CheckServerTlsFiles({.ca = "a"}, "--tls"),
            absl::InvalidArgumentError("--tls_client_ca needs --tls_cert and --tls_key"));
}

TEST(TlsFilesTest, AClientNeedsACaToShowACertificate) {
  EXPECT_TRUE(CheckClientTlsFiles({}, "--worker_tls").ok());
  EXPECT_TRUE(CheckClientTlsFiles({.ca = "a"}, "--worker_tls").ok());
  EXPECT_TRUE(CheckClientTlsFiles({.certificate = "c", .key = "k", .ca = "a"}, "--tls").ok());
  EXPECT_EQ(CheckClientTlsFiles({.certificate = "c", .ca = "a"}, "--worker_tls"),
            absl::InvalidArgumentError("--worker_tls_cert and --worker_tls_key go together"));
  EXPECT_EQ(CheckClientTlsFiles({.certificate = "c", .key = "k"}, "--tls"),
            absl::InvalidArgumentError("--tls_cert needs --tls_ca, by which the server is known"));
}

}  // namespace
}  // namespace thinkwire
