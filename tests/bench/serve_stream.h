#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <cstdint>
#include <functional>

#include "common/clock.h"
#include "tests/bench/serve_event_checker.h"
#include "tests/bench/serve_record.h"
#include "tests/bench/serve_workload.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::bench {

// One Generate call: sends, reads to the end as fast as events come, cancels where that is planned.
// Whoever owns it keeps it until it says that it has ended, and destroys it on a thread of its own:
// what a thread of gRPC frees last may be freed while the process ends.
// Threads: Start once; then gRPC's, one at a time; Abandon any.
class ServeStream final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  struct Shared {
    Clock::TimePoint origin;  // where the times of records begin
    Clock::Duration deadline =
        Clock::Duration::zero();  // of each call from its sending; zero: none
    bool keep_arrivals = false;
    std::atomic<std::int64_t>* tokens = nullptr;      // raised by the tokens that come
    std::function<void(StreamRecord record)> on_end;  // the last thing, on a gRPC thread
  };

  // Borrows `shared`, which must outlive the stream.
  ServeStream(std::int64_t index, double due, PlannedRequest plan, const Shared& shared);

  void Start(v1::ReasoningService::Stub& stub);

  // Gives up on it: it ends soon, as failed.
  void Abandon();

 private:
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  double Now() const { return ToSeconds(Clock::Real().Now() - shared_.origin); }
  void CountTokens(std::int32_t count);
  void CancelIfDue();
  Outcome OutcomeOf(const absl::Status& status) const;

  const Shared& shared_;
  const PlannedRequest plan_;
  grpc::ClientContext context_;
  v1::GenerateResponse event_;
  EventChecker checker_;
  StreamRecord record_;
  bool cancelled_ = false;
  std::atomic<bool> abandoned_ = false;
};

}  // namespace thinkwire::bench
