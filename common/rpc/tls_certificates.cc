#include "common/rpc/tls_certificates.h"

#include <fcntl.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/rpc/file_descriptor.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

constexpr unsigned int kGrpcLooksEveryS = 1;  // the least that it allows

FileDescriptor MakeMemoryFile(std::string_view bytes) {
  FileDescriptor file(memfd_create("certificates", MFD_CLOEXEC));
  CHECK(file.get() >= 0, "the kernel has files in memory");
  for (std::string_view left = bytes; !left.empty();) {
    const ssize_t written = write(file.get(), left.data(), left.size());
    CHECK(written > 0, "a file in memory takes a few kilobytes");
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  return file;
}

std::vector<std::filesystem::path> PathsOf(const TlsFiles& files) {
  std::vector<std::filesystem::path> paths;
  for (const std::string* path : {&files.certificate, &files.key, &files.ca}) {
    if (!path->empty()) paths.emplace_back(*path);
  }
  return paths;
}

void LogTaken(std::string_view message, const std::string& whose, const TlsMaterial& material) {
  if (material.identity.empty()) return LogInfo(message, {{"whose", whose}});
  LogInfo(message, {{"whose", whose},
                    {"subject", material.subject},
                    {"not_after", absl::FormatTime(absl::RFC3339_sec, material.not_after,
                                                   absl::UTCTimeZone())}});
}

}  // namespace

// A file that only this process sees, under a name that stays while its contents are replaced.
class TlsCertificates::MemoryFile {
 public:
  // Whoever has it open reads on in what was there.
  void Replace(std::string_view bytes) {
    FileDescriptor fresh = MakeMemoryFile(bytes);
    if (file_.get() < 0) {
      file_ = std::move(fresh);
    } else {
      CHECK(dup3(fresh.get(), file_.get(), O_CLOEXEC) >= 0, "both are open");
    }
  }
  // Empty: it was never there.
  std::string path() const {
    return file_.get() < 0 ? "" : absl::StrCat("/proc/self/fd/", file_.get());
  }

 private:
  FileDescriptor file_;
};

absl::StatusOr<std::unique_ptr<TlsCertificates>> TlsCertificates::Load(const TlsFiles& files,
                                                                       const std::string& whose,
                                                                       Clock::Duration look_every) {
  std::unique_ptr<TlsCertificates> made(new TlsCertificates(files, whose));
  // Before they are read, so that no change falls between.
  made->watch_ = std::make_unique<FileWatch>(
      PathsOf(files), [all = made.get()] { all->Reload(); }, look_every);
  ASSIGN_OR_RETURN(const TlsMaterial material, ReadTlsFiles(files));
  made->Publish(material);
  const std::string identity = made->identity_->path();
  made->provider_ = std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
      identity, identity, made->ca_->path(), kGrpcLooksEveryS);
  made->watch_->Start();
  LogTaken("certificates loaded", whose, material);
  return made;
}

TlsCertificates::TlsCertificates(const TlsFiles& files, std::string whose)
    : files_(files),
      whose_(std::move(whose)),
      identity_(std::make_unique<MemoryFile>()),
      ca_(std::make_unique<MemoryFile>()) {}

TlsCertificates::~TlsCertificates() = default;

void TlsCertificates::Publish(const TlsMaterial& material) {
  if (!material.identity.empty()) identity_->Replace(material.identity);
  if (!material.ca.empty()) ca_->Replace(material.ca);
}

void TlsCertificates::Reload() {
  const auto material = ReadTlsFiles(files_);
  if (!material.ok()) {
    LogWarning("certificates not reloaded: the old ones stay",
               {{"whose", whose_}, {"error", std::string(material.status().message())}});
    return;
  }
  Publish(*material);
  LogTaken("certificates reloaded", whose_, *material);
}

std::shared_ptr<grpc::ServerCredentials> TlsCertificates::ForServer() const {
  grpc::experimental::TlsServerCredentialsOptions options(provider_);
  options.watch_identity_key_cert_pairs();
  if (!files_.ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return grpc::experimental::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> TlsCertificates::ForChannels() const {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(provider_);
  options.watch_root_certs();
  if (!files_.certificate.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace thinkwire::rpc
