#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/file_watch.h"
#include "common/mutex.h"
#include "common/rpc/tls_material.h"
#include "common/tls_files.h"

namespace thinkwire::router::http {

// What handshakes of the door are made with: the router's certificate, and where there is a CA its
// word for clients', as the files have them now. Files that change are taken for connections from
// then on; those that are not good (rpc::ReadTlsFiles) change nothing but the log. TLS 1.2 at
// least, HTTP/1.1 by ALPN, and no sessions that outlive a connection, as a client's certificate
// might not. Owns: a thread. Threads: any.
class TlsContexts {
 public:
  // REQUIRES: as ReadTlsFiles, and there is a certificate. Fails: likewise.
  static absl::StatusOr<std::unique_ptr<TlsContexts>> Load(
      const TlsFiles& files, Clock::Duration look_every = FileWatch::kLookEvery);

  std::shared_ptr<boost::asio::ssl::context> Get() const;

 private:
  TlsContexts(const TlsFiles& files, Clock::Duration look_every);
  void Set(std::shared_ptr<boost::asio::ssl::context> context);
  void Reload();

  const TlsFiles files_;
  mutable Mutex mu_;
  std::shared_ptr<boost::asio::ssl::context> context_ ABSL_GUARDED_BY(mu_);
  FileWatch watch_;
};

}  // namespace thinkwire::router::http
