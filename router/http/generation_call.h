#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/mutex.h"
#include "common/rpc/call_count.h"
#include "router/fleet/worker_client.h"
#include "router/generation.h"
#include "router/http/answer_writer.h"
#include "router/http/exchange.h"
#include "router/http/request_reader.h"
#include "router/intake.h"

namespace thinkwire::router::http {

// One generation on its way to a client of HTTP: the router's events become an answer
// (AnswerWriter). A stream's 200 is not sent before the request is queued or started, so that a
// refusal has a status of its own; what goes wrong after that is an error among the events, after
// which the stream ends. A client that is gone has its generation cancelled at once; one that reads
// slowly pauses it. Threads: as Exchange and EventSink.
class GenerationCall final : public Exchange, public EventSink {
 public:
  struct Context {
    fleet::CallContext call{};
    HeaderFields fields{};               // of every answer: the request's name, CORS, …
    Dialect dialect = Dialect::kOpenAi;  // of what is refused
    // Told once of the status that the client was sent, or would have been: 499 if it was gone.
    std::function<void(int)> on_status{};
  };
  using ReadRequest = std::function<absl::StatusOr<Asked>()>;

  // Begins the request that `read` makes of a body of so many bytes. `intake` outlives it; `open`
  // counts until nothing of it calls the connection any more.
  static std::shared_ptr<GenerationCall> Begin(Intake& intake, rpc::CallCount& open,
                                               Context context, std::size_t body_bytes,
                                               const ReadRequest& read);

  // EventSink.
  bool Write(const v1::GenerateResponse& event) override;
  void Finish(const absl::Status& status, const std::optional<v1::Usage>& usage) override;

 protected:
  void OnRoom() override;
  void OnGone() override;
  void OnOver() override;
  void OnIdle() override;

 private:
  GenerationCall(Intake& intake, rpc::CallCount& open, Context context);

  absl::Status Start(std::size_t body_bytes, const ReadRequest& read);
  void Prepare(const Asked& asked);
  ResponseHead Head(int status, const char* type) const;
  void BeginStream() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Intake& intake_;
  const Context context_;
  rpc::CallCount::Token running_;           // of the router's drain, until the client has its end
  rpc::CallCount::Token open_;              // until Finish
  std::shared_ptr<Generation> generation_;  // the strand's; until OnOver

  Mutex mu_;
  std::unique_ptr<AnswerWriter> writer_ ABSL_GUARDED_BY(mu_);  // once the request has been read
  bool streams_ ABSL_GUARDED_BY(mu_) = false;
  bool stream_begun_ ABSL_GUARDED_BY(mu_) = false;
  bool too_long_ ABSL_GUARDED_BY(mu_) = false;
  std::string warning_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router::http
