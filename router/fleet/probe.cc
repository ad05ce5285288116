#include "router/fleet/probe.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/request_id.h"

namespace thinkwire::router::fleet {
namespace {

// By whom a worker counts probes, so that no client's share is in their way.
constexpr char kPeer[] = "router-probe";

class ProbeReader final : public WorkerAttempt::Reader {
 public:
  explicit ProbeReader(std::function<void(const absl::Status&)> on_end)
      : on_end_(std::move(on_end)) {}

  bool OnMessage(v1::WorkerGenerateResponse&& /*message*/) override { return true; }
  void OnEnd(const absl::Status& status) override { on_end_(status); }

 private:
  const std::function<void(const absl::Status&)> on_end_;
};

v1::WorkerGenerateRequest OneToken(const std::string& variant) {
  v1::WorkerGenerateRequest probe;
  probe.set_request_id(absl::StrCat("probe-", rpc::MakeRequestId()));
  probe.set_attempt(1);
  v1::GenerateRequest& request = *probe.mutable_request();
  request.set_variant(variant);  // ids mean something for one vocabulary only
  request.mutable_prompt()->mutable_token_ids()->add_ids(0);
  request.set_max_tokens(1);
  request.set_seed(0);
  return probe;
}

}  // namespace

std::shared_ptr<WorkerAttempt> StartProbe(const WorkerClient& client, const std::string& variant,
                                          const Clock& clock,
                                          std::function<void(const absl::Status&)> on_end) {
  const CallContext context{.deadline = clock.Now() + kProbeTimeout, .peer = kPeer};
  auto attempt = client.Generate(context, std::make_shared<ProbeReader>(std::move(on_end)));
  attempt->Start(OneToken(variant));
  return attempt;
}

}  // namespace thinkwire::router::fleet
