// Whose calls are whose, over sockets.

#include "router/callers.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/status_details.h"
#include "common/rpc/tls_certificates.h"
#include "tests/fakes/stderr_log.h"
#include "tests/fakes/test_ca.h"

namespace thinkwire::router {
namespace {

constexpr Clock::Duration kOften = std::chrono::milliseconds(5);

// SHA-256 of 64 times the letter.
constexpr char kOfA[] = "sha256:ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb";
constexpr char kOfB[] = "sha256:a0fab1377f49a759b57f63318262ebe89fabfc990e8e93ceac2984561482b9d4";
std::string KeyOf(char letter) { return std::string(64, letter); }

// Refuses every call with what Callers say of it.
class Teller final : public rpc::RawService {
 public:
  explicit Teller(const Callers& callers) : callers_(callers) {
    AddMethodOfOneAnswer("test.Teller", "Tell", [](const grpc::ByteBuffer& /*request*/) {
      return absl::InternalError("it is refused before");
    });
  }

 private:
  absl::Status Admit(const grpc::CallbackServerContext& context) const override {
    const auto tenant = callers_.TenantOf(context);
    return tenant.ok() ? absl::AbortedError(*tenant) : tenant.status();
  }

  const Callers& callers_;
};

class CallersTest : public testing::Test {
 protected:
  void Start(const std::string& tenants) {
    path_ = folder_.Write("keys", tenants);
    callers_ = *Callers::Load(path_, kOften);
    teller_.emplace(*callers_);
    const TlsFiles files = folder_.Write("server", ca_.Issue(), ca_.certificate());
    certificates_ = *rpc::TlsCertificates::Load(files, "test");
    plain_ = *rpc::GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&*teller_}});
  }
  // Clients need certificates from now on.
  void StartTls() {
    tls_teller_.emplace(*callers_);
    tls_ = *rpc::GrpcServer::Start({.listen = "127.0.0.1:0",
                                    .services = {&*tls_teller_},
                                    .credentials = certificates_->ForServer()});
  }
  void TearDown() override {
    plain_.reset();
    tls_.reset();
  }

  // The tenant's name, or the reason of the refusal. `authorization` empty: none.
  static std::string Tell(const rpc::GrpcServer& server, const rpc::ChannelSecurity& security,
                          const std::string& authorization = "") {
    grpc::GenericStub stub(
        rpc::MakeChannel(absl::StrCat("127.0.0.1:", server.port()), rpc::Proxy::kNone, security));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    const grpc::Slice nothing("");
    const grpc::ByteBuffer request(&nothing, 1);
    grpc::ByteBuffer response;
    std::promise<grpc::Status> done;
    stub.UnaryCall(&context, "/test.Teller/Tell", {}, &request, &response,
                   [&](grpc::Status status) { done.set_value(std::move(status)); });
    const absl::Status status = rpc::FromGrpc(done.get_future().get());
    if (absl::IsAborted(status)) return std::string(status.message());
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << status;
    EXPECT_EQ(status.ToString().find(KeyOf('c')), std::string::npos) << status;
    return rpc::ErrorReason(status);
  }
  std::string TellByMetadata(const std::string& authorization) const {
    return Tell(*plain_, {}, authorization);
  }
  std::string TellByCertificate(const TestCa::Subject& subject,
                                const std::string& authorization = "") const {
    const TestCa::Issued issued = ca_.Issue(subject);
    return Tell(*tls_,
                {.credentials = grpc::SslCredentials({.pem_root_certs = ca_.certificate(),
                                                      .pem_private_key = issued.key,
                                                      .pem_cert_chain = issued.certificate})},
                authorization);
  }

  const TestCa ca_{"ca"};
  const TlsFolder folder_;
  std::string path_;
  std::unique_ptr<Callers> callers_;
  std::optional<Teller> teller_;
  std::optional<Teller> tls_teller_;
  std::unique_ptr<rpc::TlsCertificates> certificates_;
  std::unique_ptr<rpc::GrpcServer> plain_;
  std::unique_ptr<rpc::GrpcServer> tls_;
};

TEST_F(CallersTest, AreKnownByTheirKey) {
  Start(absl::StrCat("first ", kOfA, "\nsecond ", kOfB));
  EXPECT_EQ(TellByMetadata("Bearer " + KeyOf('a')), "first");
  EXPECT_EQ(TellByMetadata("bearer  " + KeyOf('b') + " "), "second");
  EXPECT_EQ(TellByMetadata(""), "API_KEY_MISSING");
  EXPECT_EQ(TellByMetadata("Bearer " + KeyOf('c')), "API_KEY_UNKNOWN");
  EXPECT_EQ(TellByMetadata("Basic " + KeyOf('a')), "API_KEY_UNKNOWN");
  EXPECT_EQ(TellByMetadata("Bearer "), "API_KEY_MISSING");
  EXPECT_EQ(TellByMetadata("Bearer " + std::string(4000, 'a')), "API_KEY_UNKNOWN");
  EXPECT_EQ(Tell(*plain_, {.api_key = KeyOf('a')}), "first") << "as a channel sends it";
}

TEST_F(CallersTest, AreKnownByTheirCertificateIfTheyHaveNoKey) {
  Start(absl::StrCat("keyed ", kOfA,
                     "\nuri certificate:spiffe://x/uri\ncommon certificate:common\n"
                     "dns certificate:dns.test"));
  StartTls();
  EXPECT_EQ(TellByCertificate({.alternative_names = "URI:spiffe://x/uri"}), "uri");
  EXPECT_EQ(TellByCertificate({.common_name = "common"}), "common");
  EXPECT_EQ(TellByCertificate(
                {.common_name = "common", .alternative_names = "URI:spiffe://x/uri,DNS:dns.test"}),
            "uri");
  EXPECT_EQ(TellByCertificate(
                {.common_name = "common", .alternative_names = "DNS:dns.test,URI:spiffe://x/uri"}),
            "dns");
  EXPECT_EQ(TellByCertificate({}), "API_KEY_MISSING");
  const TestCa::Subject uri{.alternative_names = "URI:spiffe://x/uri"};
  EXPECT_EQ(TellByCertificate(uri, "Bearer " + KeyOf('a')), "keyed");
  EXPECT_EQ(TellByCertificate(uri, "Bearer " + KeyOf('c')), "API_KEY_UNKNOWN");
}

TEST_F(CallersTest, AreThoseOfTheFileAsItIsNow) {
  Start(absl::StrCat("first ", kOfA));
  folder_.Write("keys", absl::StrCat("second ", kOfB));
  const auto give_up = Clock::Real().Now() + std::chrono::seconds(60);
  while (TellByMetadata("Bearer " + KeyOf('b')) != "second") {
    ASSERT_LT(Clock::Real().Now(), give_up);
  }
  EXPECT_EQ(TellByMetadata("Bearer " + KeyOf('a')), "API_KEY_UNKNOWN");
}

TEST_F(CallersTest, StayWhereTheFileIsWrong) {
  Start(absl::StrCat("first ", kOfA));
  {
    const StderrLog log;
    folder_.Write("keys", "first sha256:");
    const auto give_up = Clock::Real().Now() + std::chrono::seconds(60);
    while (!log.Has("API keys not reloaded") && Clock::Real().Now() < give_up) {
      EXPECT_EQ(TellByMetadata("Bearer " + KeyOf('a')), "first");
    }
    EXPECT_TRUE(log.Has(absl::StrCat(path_, ":1: "))) << log.text();
  }
  EXPECT_EQ(TellByMetadata("Bearer " + KeyOf('a')), "first");
}

}  // namespace
}  // namespace thinkwire::router
