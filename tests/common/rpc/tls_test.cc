// Servers and channels with certificates, over sockets.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/client_security.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/tls_certificates.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/fakes/stderr_log.h"
#include "tests/fakes/test_ca.h"

namespace thinkwire::rpc {
namespace {

using grpc::health::v1::Health;

constexpr Clock::Duration kOften = std::chrono::milliseconds(5);

// A server with a certificate for 127.0.0.1, and clients of it.
class TlsTest : public testing::Test {
 protected:
  // `client_ca`: whose certificates clients need; empty: none.
  void Start(const TestCa::Issued& issued, const std::string& client_ca = "") {
    files_ = folder_.Write("server", issued, client_ca);
    certificates_ = *TlsCertificates::Load(files_, "test", kOften);
    server_ =
        *GrpcServer::Start({.listen = "127.0.0.1:0", .credentials = certificates_->ForServer()});
    server_->SetServing(true);
  }
  void TearDown() override { server_.reset(); }

  // A client with files of its own, on a connection of its own.
  grpc::StatusCode Call(const TlsFiles& files, const std::string& server_name = "") {
    auto security = MakeClientSecurity(files, "", "127.0.0.1:1");
    EXPECT_TRUE(security.ok()) << security.status();
    security->server_name = server_name;
    return Call(*security);
  }
  grpc::StatusCode Call(const ChannelSecurity& security) {
    const auto channel =
        MakeChannel(absl::StrCat("127.0.0.1:", server_->port()), Proxy::kNone, security);
    return Call(*Health::NewStub(channel));
  }
  static grpc::StatusCode Call(Health::Stub& stub) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    grpc::health::v1::HealthCheckResponse response;
    return stub.Check(&context, {}, &response).error_code();
  }
  // Calls until it comes to that.
  template <class Once>
  static bool Becomes(grpc::StatusCode wanted, const Once& call) {
    const auto give_up = Clock::Real().Now() + std::chrono::seconds(60);
    while (Clock::Real().Now() < give_up) {
      if (call() == wanted) return true;
    }
    return false;
  }

  TlsFiles Trusting(const TestCa& ca) const {
    return {.ca = folder_.Write("trusted.crt", ca.certificate())};
  }

  const TestCa ca_{"ca"};
  const TestCa other_{"other"};
  const TlsFolder folder_;
  TlsFiles files_;
  std::unique_ptr<TlsCertificates> certificates_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(TlsTest, ServesWhoTrustsItsCa) {
  Start(ca_.Issue());
  EXPECT_EQ(Call(Trusting(ca_)), grpc::OK);
  EXPECT_EQ(Call(Trusting(other_)), grpc::UNAVAILABLE);
  EXPECT_EQ(Call(ChannelSecurity{}), grpc::UNAVAILABLE) << "plaintext";
}

TEST_F(TlsTest, ACertificateIsForTheHostThatIsDialledOrTheNameThatIsAsked) {
  Start(ca_.Issue({.alternative_names = "DNS:worker.test"}));
  EXPECT_EQ(Call(Trusting(ca_)), grpc::UNAVAILABLE);
  EXPECT_EQ(Call(Trusting(ca_), "worker.test"), grpc::OK);
  EXPECT_EQ(Call(Trusting(ca_), "other.test"), grpc::UNAVAILABLE);
}

TEST_F(TlsTest, WantsAClientsCertificateOfItsCaThatHasNotExpired) {
  Start(ca_.Issue(), ca_.certificate());
  const auto with = [&](const TestCa& ca, const TestCa::Subject& subject) {
    // gRPC's own credentials: ours refuse to read a certificate that has expired.
    const TestCa::Issued issued = ca.Issue(subject);
    return Call(ChannelSecurity{.credentials =
                                    grpc::SslCredentials({.pem_root_certs = ca_.certificate(),
                                                          .pem_private_key = issued.key,
                                                          .pem_cert_chain = issued.certificate})});
  };
  EXPECT_EQ(with(ca_, {}), grpc::OK);
  EXPECT_EQ(with(ca_, {.to_s = -60}), grpc::UNAVAILABLE);
  EXPECT_EQ(with(other_, {}), grpc::UNAVAILABLE);
  EXPECT_EQ(Call(Trusting(ca_)), grpc::UNAVAILABLE) << "none";
  EXPECT_EQ(Call(folder_.Write("client", ca_.Issue(), ca_.certificate())), grpc::OK);
}

TEST_F(TlsTest, TakesNewCertificatesWithoutARestart) {
  Start(ca_.Issue());
  EXPECT_EQ(Call(Trusting(other_)), grpc::UNAVAILABLE);
  const auto open = MakeChannel(absl::StrCat("127.0.0.1:", server_->port()), Proxy::kNone,
                                *MakeClientSecurity(Trusting(ca_), "", ""));
  const auto old = Health::NewStub(open);
  EXPECT_EQ(Call(*old), grpc::OK);
  folder_.Write("server", other_.Issue());
  EXPECT_TRUE(Becomes(grpc::OK, [&] { return Call(Trusting(other_)); }));
  EXPECT_EQ(Call(Trusting(ca_)), grpc::UNAVAILABLE);
  EXPECT_EQ(Call(*old), grpc::OK) << "a connection that is there goes on";
}

TEST_F(TlsTest, KeepsTheOldOnesWhereNewOnesAreNoGood) {
  Start(ca_.Issue());
  // A certificate comes before its key, and half of it first.
  const TestCa::Issued next = other_.Issue();
  for (const std::string& text : {next.certificate.substr(0, 200), next.certificate}) {
    const StderrLog log;
    folder_.Write("server.crt", text);
    // gRPC itself looks once a second.
    const auto soonest = Clock::Real().Now() + std::chrono::milliseconds(1500);
    const auto give_up = soonest + std::chrono::seconds(60);
    const auto told = [&] { return log.Has("certificates not reloaded"); };
    while (Clock::Real().Now() < (told() ? soonest : give_up)) {
      ASSERT_EQ(Call(Trusting(ca_)), grpc::OK);
    }
    EXPECT_TRUE(told());
    EXPECT_TRUE(log.Has(files_.certificate)) << log.text();
  }
  folder_.Write("server.key", next.key);
  EXPECT_TRUE(Becomes(grpc::OK, [&] { return Call(Trusting(other_)); }));
}

TEST_F(TlsTest, AChannelTakesNewCasAndCertificatesToo) {
  Start(ca_.Issue(), ca_.certificate());
  const auto client = *TlsCertificates::Load(
      folder_.Write("client", other_.Issue(), other_.certificate()), "client", kOften);
  const auto channel = MakeChannel(absl::StrCat("127.0.0.1:", server_->port()), Proxy::kNone,
                                   {.credentials = client->ForChannels()});
  const auto stub = Health::NewStub(channel);
  EXPECT_EQ(Call(*stub), grpc::UNAVAILABLE);
  folder_.Write("client", ca_.Issue(), ca_.certificate());
  EXPECT_TRUE(Becomes(grpc::OK, [&] { return Call(*stub); }));
}

TEST_F(TlsTest, AFailedHandshakeIsToldInTheLog) {
  Start(ca_.Issue());
  testing::internal::CaptureStderr();
  EXPECT_EQ(Call(ChannelSecurity{}), grpc::UNAVAILABLE);
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("\"TLS handshake failed\""), log.npos) << log;
}

TEST(ClientSecurityTest, SendsNoKeyInTheClearButToThisMachine) {
  const TlsFolder folder;
  const std::string key = folder.Write("key", std::string(64, 'a') + "\n");
  const auto near = MakeClientSecurity({}, key, "localhost:50051");
  ASSERT_TRUE(near.ok()) << near.status();
  EXPECT_EQ(near->api_key, std::string(64, 'a'));
  EXPECT_EQ(near->credentials, nullptr);
  EXPECT_EQ(MakeClientSecurity({}, key, "router.test:50051").status().code(),
            absl::StatusCode::kInvalidArgument);
  const TestCa ca("ca");
  EXPECT_TRUE(
      MakeClientSecurity({.ca = folder.Write("ca", ca.certificate())}, key, "router.test:50051")
          .ok());
}

}  // namespace
}  // namespace thinkwire::rpc
