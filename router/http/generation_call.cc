#include "router/http/generation_call.h"

#include <ctime>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/http/errors.h"
#include "router/http/http_limits.h"

namespace thinkwire::router::http {
namespace {

constexpr char kJson[] = "application/json";
constexpr int kClientGone = 499;

absl::Status TooLong() {
  return rpc::Error(absl::StatusCode::kFailedPrecondition, "ANSWER_TOO_LONG",
                    absl::StrCat("the answer has more than ", kMaxWholeAnswerBytes,
                                 " bytes, too many for one reply: ask for it with \"stream\": "
                                 "true, by /v1/chat/completions"));
}

// As RFC 7234's "miscellaneous warning". Of names nothing but what a header may hold.
std::string Warning(const std::vector<std::string>& ignored) {
  std::string names = absl::StrJoin(ignored, ", ");
  for (char& c : names) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != ' ') c = '?';
    if (c == '"' || c == '\\') c = '?';
  }
  return absl::StrCat("199 thinkwire \"ignored: ", names, "\"");
}

}  // namespace

std::shared_ptr<GenerationCall> GenerationCall::Begin(Intake& intake, rpc::CallCount& open,
                                                      Context context, std::size_t body_bytes,
                                                      const ReadRequest& read) {
  std::shared_ptr<GenerationCall> call(new GenerationCall(intake, open, std::move(context)));
  const absl::Status status = call->Start(body_bytes, read);
  if (!status.ok()) call->generation_->Refuse(status);
  return call;
}

GenerationCall::GenerationCall(Intake& intake, rpc::CallCount& open, Context context)
    : intake_(intake),
      context_(std::move(context)),
      running_(intake.BeginCount()),
      open_(open.Begin()) {}

absl::Status GenerationCall::Start(std::size_t body_bytes, const ReadRequest& read) {
  auto self = std::static_pointer_cast<GenerationCall>(shared_from_this());
  generation_ = intake_.MakeGeneration(context_.call, self);
  ASSIGN_OR_RETURN(auto held, intake_.AdmitBytes(context_.call.peer, body_bytes));
  ASSIGN_OR_RETURN(Asked asked, read());
  Prepare(asked);
  return AtClientsItem(intake_.Begin(std::move(held), std::move(asked.request), *generation_),
                       asked.item_of);
}

void GenerationCall::Prepare(const Asked& asked) {
  MutexLock lock(mu_);
  streams_ = asked.form.stream;
  const std::string& model = asked.request.variant();
  writer_ = MakeAnswerWriter(asked.form, context_.call.id.own, model.empty() ? "auto" : model,
                             std::time(nullptr));
  if (!asked.ignored.empty()) warning_ = Warning(asked.ignored);
}

ResponseHead GenerationCall::Head(int status, const char* type) const {
  ResponseHead head{.status = status, .fields = context_.fields};
  head.fields.emplace_back("Content-Type", type);
  head.fields.emplace_back("Cache-Control", "no-store");
  return head;
}

bool GenerationCall::Write(const v1::GenerateResponse& event) {
  if (!HasRoom()) return false;
  MutexLock lock(mu_);
  if (too_long_) return true;  // it is said at the end
  const std::string text = writer_->Take(event);
  too_long_ = writer_->bytes() > kMaxWholeAnswerBytes;
  if (!streams_ || too_long_) return true;
  BeginStream();
  if (event.has_queued()) Append(writer_->Waiting(event.queued().position()));
  Append(text);
  return true;
}

void GenerationCall::BeginStream() {
  if (std::exchange(stream_begun_, true)) return;
  ResponseHead head = Head(200, writer_->media_type());
  head.fields.emplace_back("X-Accel-Buffering", "no");  // nginx would collect events
  if (!warning_.empty()) head.fields.emplace_back("Warning", warning_);
  Exchange::Begin(std::move(head));
}

void GenerationCall::Finish(const absl::Status& status, const std::optional<v1::Usage>& /*usage*/) {
  {
    MutexLock lock(mu_);
    if (!status.ok() || too_long_) {
      Fail(status.ok() ? TooLong() : status);
    } else if (streams_) {
      End();
    } else {
      ResponseHead head = Head(200, kJson);
      if (!warning_.empty()) head.fields.emplace_back("Warning", warning_);
      Respond(std::move(head), writer_->Whole());
    }
  }
  const rpc::CallCount::Token open = std::move(open_);  // the last: the door may go now
}

void GenerationCall::Fail(const absl::Status& status) {
  ErrorReply error = MakeErrorReply(status, context_.dialect);
  if (has_begun() && writer_ != nullptr) {
    Append(writer_->Failure(error.body));
    return End();
  }
  ResponseHead head = Head(error.status, kJson);
  for (auto& field : error.fields) head.fields.push_back(std::move(field));
  Respond(std::move(head), std::move(error.body));
}

void GenerationCall::OnRoom() { generation_->Resume(); }

void GenerationCall::OnGone() { generation_->Cancel(); }

// The request waits in the router or at the worker, or the model computes a long prompt.
void GenerationCall::OnIdle() {
  MutexLock lock(mu_);
  if (!streams_) return;
  BeginStream();
  Append(writer_->KeepAlive());
}

void GenerationCall::OnOver() {
  const int sent = status();
  context_.on_status(sent == 0 ? kClientGone : sent);
  intake_.EndGeneration();
  generation_.reset();  // which holds this
  running_ = {};
}

}  // namespace thinkwire::router::http
