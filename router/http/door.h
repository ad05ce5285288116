#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/call_count.h"
#include "common/rpc/trusted_peers.h"
#include "common/tls_files.h"
#include "router/http/http_limits.h"
#include "router/http/reply_form.h"
#include "router/intake.h"

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace thinkwire::router::http {

class DoorMetrics;
class OriginCheck;
class Server;
class TlsContexts;

// The router's HTTP port: OpenAI's chat and text completions, Responses and list of models,
// Ollama's API, health, and a page for people.
// It translates and nothing more: what is asked goes to the Intake, as gRPC's calls do, under the
// same tenants, limits and queue.
// Owns: a port with its threads and connections. Threads: any.
class Door {
 public:
  struct Options {
    std::string listen{};  // "host:port"; port 0 takes a free one
    int max_connections = kMaxConnections;
    rpc::TrustedPeers trusted{};
    Patience patience{};
    TlsFiles tls{};              // without a certificate: nothing is encrypted
    bool needs_key = false;      // there are tenants
    std::string hosts{};         // of OriginCheck, with commas
    std::string cors_origins{};  // likewise
    bool page = true;            // there is one at "/"
    ReaderOptions reader{};
  };
  // `intake` and `registry` outlive it. Fails: UNAVAILABLE the address cannot be had; as
  // TlsContexts::Load.
  static absl::StatusOr<std::unique_ptr<Door>> Open(const Options& options, Intake& intake,
                                                    prometheus::Registry& registry);
  // Ends all connections, and waits until nothing of theirs goes on.
  ~Door();
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  int port() const;

  // Nobody can connect any more, and each connection ends with the answer that it is at.
  void BeginDrain();

 private:
  class Routes;

  Door(const Options& options, Intake& intake, prometheus::Registry& registry);

  // In the order in which they must begin.
  const std::unique_ptr<DoorMetrics> metrics_;
  std::unique_ptr<TlsContexts> tls_;  // null: nothing is encrypted
  rpc::CallCount open_;               // generations that may still call their connections
  const std::unique_ptr<Routes> site_;
  std::unique_ptr<Server> server_;
};

}  // namespace thinkwire::router::http
