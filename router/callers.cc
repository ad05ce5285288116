#include "router/callers.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/server_context.h>

#include <string_view>
#include <utility>

#include "common/log.h"
#include "common/rpc/api_key.h"
#include "common/rpc/status_details.h"
#include "common/status.h"

namespace thinkwire::router {
namespace {

// Of the certificate that the connection was made with.
std::vector<std::string> CertificateNames(const grpc::CallbackServerContext& context) {
  std::vector<std::string> names;
  const auto connection = context.auth_context();
  if (connection == nullptr || !connection->IsPeerAuthenticated()) return names;
  for (const char* property : {GRPC_X509_SAN_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    for (const grpc::string_ref& name : connection->FindPropertyValues(property)) {
      names.emplace_back(name.data(), name.size());
    }
  }
  return names;
}

// Of the first name that is known; empty: none is.
std::string TenantOfCertificate(std::span<const std::string> names, const Tenants& tenants) {
  for (const std::string& name : names) {
    std::string tenant = tenants.OfCertificate(name);
    if (!tenant.empty()) return tenant;
  }
  return "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Callers>> Callers::Load(const std::string& path,
                                                       Clock::Duration look_every) {
  // Before it is read, so that no change falls between.
  std::unique_ptr<Callers> callers(new Callers(path, look_every));
  ASSIGN_OR_RETURN(Tenants tenants, Tenants::Load(path));
  callers->Set(std::move(tenants));
  callers->watch_.Start();
  return callers;
}

Callers::Callers(std::string path, Clock::Duration look_every)
    : path_(std::move(path)),
      watch_(
          {path_}, [this] { Reload(); }, look_every) {}

std::shared_ptr<const Tenants> Callers::tenants() const {
  MutexLock lock(mu_);
  return tenants_;
}

void Callers::Set(Tenants tenants) {
  auto fresh = std::make_shared<const Tenants>(std::move(tenants));
  MutexLock lock(mu_);
  tenants_.swap(fresh);
}

void Callers::Reload() {
  auto tenants = Tenants::Load(path_);
  if (!tenants.ok()) {
    LogWarning("API keys not reloaded: the old ones stay",
               {{"error", std::string(tenants.status().message())}});
    return;
  }
  LogInfo("API keys reloaded", {{"tenants", tenants->names().size()}});
  Set(*std::move(tenants));
}

absl::StatusOr<std::string> Callers::TenantOf(const grpc::CallbackServerContext& context) const {
  const std::string key = rpc::ApiKeyOf(context);
  if (!key.empty()) return TenantOf(key, {});
  return TenantOf("", CertificateNames(context));
}

absl::StatusOr<std::string> Callers::TenantOf(
    std::string_view key, std::span<const std::string> certificate_names) const {
  const std::shared_ptr<const Tenants> now = tenants();
  std::string tenant = key.empty() ? TenantOfCertificate(certificate_names, *now) : now->OfKey(key);
  if (!tenant.empty()) return tenant;
  if (key.empty()) {
    return rpc::Error(absl::StatusCode::kUnauthenticated, "API_KEY_MISSING",
                      "there is no API key: send one as \"authorization: Bearer KEY\"");
  }
  return rpc::Error(absl::StatusCode::kUnauthenticated, "API_KEY_UNKNOWN",
                    "nobody here has this API key");
}

admission::TenantLimits Callers::LimitsOf(const std::string& tenant) const {
  return tenants()->LimitsOf(tenant);
}

}  // namespace thinkwire::router
