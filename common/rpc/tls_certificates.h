#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/file_watch.h"
#include "common/rpc/tls_material.h"
#include "common/tls_files.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
namespace experimental {
class CertificateProviderInterface;
}  // namespace experimental
}  // namespace grpc

namespace thinkwire::rpc {

// One end's certificates, always as its files have them: files that change are taken anew within
// some three seconds, for handshakes from then on, by servers and channels that are there already.
// Files that are not good (ReadTlsFiles: half written, or a key that came before its certificate)
// change nothing but the log, until they change again.
//
// gRPC 1.51 itself can watch files, but takes whatever is in them, and a server whose key is not
// its certificate's fails every handshake from then on. So it watches copies, files in memory that
// are replaced as a whole, of what has been checked.
//
// Owns: the copies, a thread; gRPC has one for its own watch. Threads: any.
class TlsCertificates {
 public:
  // `whose` names them in the log. REQUIRES: as ReadTlsFiles. Fails: likewise.
  static absl::StatusOr<std::unique_ptr<TlsCertificates>> Load(
      const TlsFiles& files, const std::string& whose,
      Clock::Duration look_every = FileWatch::kLookEvery);
  ~TlsCertificates();
  TlsCertificates(const TlsCertificates&) = delete;
  TlsCertificates& operator=(const TlsCertificates&) = delete;

  // For a server, which asks its clients for certificates, and takes none without, if there is a
  // CA. REQUIRES: there is a certificate. This outlives the server.
  std::shared_ptr<grpc::ServerCredentials> ForServer() const;

  // For channels, whose servers' certificates must be the CA's and name the host that is dialled.
  // REQUIRES: there is a CA. This outlives the channels.
  std::shared_ptr<grpc::ChannelCredentials> ForChannels() const;

 private:
  class MemoryFile;

  TlsCertificates(const TlsFiles& files, std::string whose);
  void Publish(const TlsMaterial& material);
  void Reload();

  const TlsFiles files_;
  const std::string whose_;
  const std::unique_ptr<MemoryFile> identity_;  // certificates, then the key
  const std::unique_ptr<MemoryFile> ca_;
  std::shared_ptr<grpc::experimental::CertificateProviderInterface> provider_;
  std::unique_ptr<FileWatch> watch_;
};

}  // namespace thinkwire::rpc
