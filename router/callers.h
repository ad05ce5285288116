#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/file_watch.h"
#include "common/mutex.h"
#include "router/tenants.h"

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::router {

// Which tenant calls, by the file of --api_keys as it is now: a file that has changed is taken anew
// within some two seconds, and one that is wrong changes nothing but the log. A call that has begun
// goes on, whatever becomes of its key.
//
// A call is the tenant's:
// 1. whose key its metadata has (rpc::ApiKeyOf), whatever else it shows: a wrong key is refused
//    with a good certificate too, so that nobody is taken for somebody else without a word;
// 2. if it has no key, and its connection a verified client certificate: whose name comes first of
//    the certificate's subject alternative names, in their order, and its common name;
// 3. else nobody's, and it is refused.
// So it is for all methods of ours, and reflection. Health answers everybody who gets a connection:
// whoever looks after processes has no key, and learns nothing but whether they serve.
// Owns: a thread. Threads: any.
class Callers {
 public:
  // Fails: as Tenants::Load.
  static absl::StatusOr<std::unique_ptr<Callers>> Load(
      const std::string& path, Clock::Duration look_every = FileWatch::kLookEvery);

  // The name of the tenant whose call it is. Fails: UNAUTHENTICATED, reason API_KEY_MISSING or
  // API_KEY_UNKNOWN, without anything of the key.
  absl::StatusOr<std::string> TenantOf(const grpc::CallbackServerContext& context) const;
  // The same of a call that shows `key`, empty: none, over a connection whose verified certificate
  // has these names, in the order of rule 2.
  absl::StatusOr<std::string> TenantOf(std::string_view key,
                                       std::span<const std::string> certificate_names) const;
  // What a tenant of that name may have, over all routers; no limits where there is none.
  admission::TenantLimits LimitsOf(const std::string& tenant) const;

 private:
  Callers(std::string path, Clock::Duration look_every);
  void Set(Tenants tenants);
  void Reload();
  std::shared_ptr<const Tenants> tenants() const;

  const std::string path_;
  mutable Mutex mu_;
  std::shared_ptr<const Tenants> tenants_ ABSL_GUARDED_BY(mu_);
  FileWatch watch_;
};

}  // namespace thinkwire::router
