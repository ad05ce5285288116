#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/rpc/open_calls.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace grpc {
class Server;
}  // namespace grpc

namespace thinkwire {

// A WorkerService on a free port that says what the test wrote down. Threads: any.
class FakeWorker {
 public:
  // What every Generate call from now on gets.
  struct Script {
    // From the start; a request that goes on somewhere gets what is left of them after the first
    // Started.
    std::vector<v1::GenerateResponse> events{};
    // The same for a request that is to end without an answer; empty: `events`.
    std::vector<v1::GenerateResponse> unanswered{};
    absl::Status end{};        // after the events
    bool stays_open = false;   // no end: the call lasts until somebody cancels it
    absl::Status count_end{};  // what CountTokens calls get instead of a count
    absl::Status probe_end{};  // what the router's own calls for one token get instead of it
    // What AnswerNow calls get instead of one output, or of NOT_FOUND where no call of that id and
    // tenant is open.
    absl::Status answer_now_end{};
    // Changes messages before they leave, to break the protocol.
    std::function<void(v1::WorkerGenerateResponse&)> tamper{};
  };
  // What a Generate call brought.
  struct Call {
    v1::WorkerGenerateRequest request;
    std::string tenant;  // that the metadata names
    std::string traceparent;
    std::chrono::system_clock::time_point deadline;
  };

  // What an AnswerNow call brought.
  struct AnswerNow {
    v1::WorkerAnswerNowRequest request;
    std::string tenant;
  };

  explicit FakeWorker(const std::string& served_model_name);
  ~FakeWorker();

  std::string address() const;

  void SetScript(Script script);
  // Tells the watchers, and every later one first.
  void SetStatus(const std::function<void(v1::WatchStatusResponse&)>& change);
  // What wakes up: the next message of every call that is open, whether anybody wants it or not.
  void Say(const v1::GenerateResponse& event);
  // Ends all watches with UNAVAILABLE; new ones are welcome.
  void EndWatches();

  // Each waits at most a minute; false if that was in vain.
  bool WaitForCalls(int number);
  bool WaitForCancels(int number);
  bool WaitForProbes(int number);
  bool WaitForWatches(int number);  // begun, in all
  bool WaitForAnswersNow(std::size_t number);
  Call last_call() const;
  int num_calls() const;                       // of Generate
  int num_counts() const;                      // of CountTokens
  std::vector<AnswerNow> answers_now() const;  // in their order
  int num_probes() const;  // of Generate, by the router itself: in none of the others

  // Ends the server at once, as a crash would.
  void Kill();

 private:
  class Service;
  class Generation;
  class Watch;
  class AnswerNowCall;
  bool WaitUntil(const std::function<bool()>& holds);
  absl::Status BeginCount();  // how it ends at once, if not OK
  absl::StatusOr<v1::WorkerAnswerNowResponse> Answer(const AnswerNow& asked);

  mutable Mutex mu_;
  CondVar changed_;
  Script script_ ABSL_GUARDED_BY(mu_);
  v1::WatchStatusResponse status_ ABSL_GUARDED_BY(mu_);
  std::set<std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mu_);
  std::set<std::shared_ptr<Generation>> generations_ ABSL_GUARDED_BY(mu_);
  std::optional<Call> last_call_ ABSL_GUARDED_BY(mu_);
  std::vector<AnswerNow> answers_now_ ABSL_GUARDED_BY(mu_);
  int num_calls_ ABSL_GUARDED_BY(mu_) = 0;
  int num_counts_ ABSL_GUARDED_BY(mu_) = 0;
  int num_probes_ ABSL_GUARDED_BY(mu_) = 0;
  int num_cancels_ ABSL_GUARDED_BY(mu_) = 0;
  int num_watches_ ABSL_GUARDED_BY(mu_) = 0;
  // gRPC's own server, as only that can be killed: ours tells its clients that it goes.
  const std::unique_ptr<rpc::OpenCalls> calls_;
  const std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// The events of a small well-formed stream: "So 2." thought, "2" answered, usage to match.
std::vector<v1::GenerateResponse> SmallStream();

}  // namespace thinkwire
