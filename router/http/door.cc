#include "router/http/door.h"

#include <ctime>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/rpc/request_id.h"
#include "common/rpc/traceparent.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/trace_context.h"
#include "router/http/answer_now.h"
#include "router/http/door_metrics.h"
#include "router/http/errors.h"
#include "router/http/generation_call.h"
#include "router/http/models.h"
#include "router/http/ollama_models.h"
#include "router/http/origin_check.h"
#include "router/http/page.h"
#include "router/http/places.h"
#include "router/http/request_reader.h"
#include "router/http/server.h"
#include "router/http/tls_contexts.h"

namespace thinkwire::router::http {
namespace {

// Generations that were cancelled end at once; more than this is a bug.
constexpr std::chrono::seconds kPatience{60};
constexpr char kJson[] = "application/json";

std::string KeyOf(const Request& request) {
  absl::string_view value = View(request.header("authorization"));
  if (absl::StartsWithIgnoreCase(value, "bearer ")) value.remove_prefix(7);
  return std::string(absl::StripAsciiWhitespace(value));
}

// As a header of the client's goes into logs and on to workers: printable, not long.
std::string Shown(std::string_view value, std::size_t max_bytes) {
  const auto legal = [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)); };
  const bool good = value.size() <= max_bytes && std::ranges::all_of(value, legal);
  return good ? std::string(value) : "";
}

rpc::RequestId NamesOf(const Request& request) {
  return {.own = rpc::MakeRequestId(),
          .of_client =
              Shown(request.header(rpc::kClientRequestIdMetadata), rpc::kMaxClientRequestIdBytes)};
}

// No form can send JSON. Some of Ollama's clients say nothing of what they send, which none can
// either.
absl::Status CheckMediaType(const Request& request, Dialect dialect) {
  const std::string type = absl::AsciiStrToLower(View(request.header("content-type")));
  const absl::string_view word =
      absl::StripAsciiWhitespace(absl::string_view(type).substr(0, type.find(';')));
  const bool may_be = word == kJson || (word.empty() && dialect == Dialect::kOllama);
  if (!may_be) return absl::InvalidArgumentError("Content-Type must be application/json");
  const std::string_view coding = request.header("content-encoding");
  if (coding.empty() || coding == "identity") return absl::OkStatus();
  return absl::InvalidArgumentError("Content-Encoding must be identity");
}

}  // namespace

// What is answered at which path.
class Door::Routes final : public Application {
 public:
  Routes(const Options& options, Intake& intake, DoorMetrics& metrics, rpc::CallCount& open)
      : reader_(options.reader),
        needs_key_(options.needs_key),
        page_policy_(options.page ? PagePolicy() : ""),
        origins_(ReadList(options.hosts), ReadList(options.cors_origins)),
        intake_(intake),
        metrics_(metrics),
        open_(open) {}

  std::shared_ptr<Exchange> Answer(Request request) override;
  std::shared_ptr<Exchange> Refuse(int status, const std::string& message) override {
    return Fail({}, MakeErrorReply(status, "bad_http", message), {}, /*closes=*/true);
  }

 private:
  std::shared_ptr<Exchange> Reply(const Place& place, int status, std::string body,
                                  HeaderFields fields, bool closes = false);
  std::shared_ptr<Exchange> Fail(const Place& place, ErrorReply error, HeaderFields fields,
                                 bool closes = false);
  std::shared_ptr<Exchange> Tell(const Place& place, absl::StatusOr<std::string> json,
                                 HeaderFields fields);
  std::shared_ptr<Exchange> Preflight(const Place& place, HeaderFields fields);
  std::shared_ptr<Exchange> ShowPage(const Place& place, HeaderFields fields);
  std::shared_ptr<Exchange> ShowHealth(const Place& place, HeaderFields fields);
  absl::StatusOr<std::string> Show(const Place& place, const Request& request) const;
  std::shared_ptr<Exchange> Ask(const Place& place, Request request, HeaderFields fields,
                                fleet::CallContext call);
  std::shared_ptr<Exchange> AnswerNow(const Place& place, const Request& request,
                                      HeaderFields fields, const fleet::CallContext& call);
  std::shared_ptr<Exchange> Generate(const Place& place, std::string body,
                                     GenerationCall::Context context);
  absl::StatusOr<Asked> Read(const Place& place, const std::string& body) const;
  absl::StatusOr<fleet::CallContext> ContextOf(const Request& request, rpc::RequestId id) const;

  const ReaderOptions reader_;
  const bool needs_key_;
  const std::string page_policy_;  // empty: there is no page
  const OriginCheck origins_;
  Intake& intake_;
  DoorMetrics& metrics_;
  rpc::CallCount& open_;
};

std::shared_ptr<Exchange> Door::Routes::Reply(const Place& place, int status, std::string body,
                                              HeaderFields fields, bool closes) {
  metrics_.CountRequest(place.name, status);
  if (!body.empty()) fields.emplace_back("Content-Type", kJson);
  fields.emplace_back("Cache-Control", "no-store");
  return Answered({.status = status, .fields = std::move(fields), .closes = closes},
                  std::move(body));
}

std::shared_ptr<Exchange> Door::Routes::Fail(const Place& place, ErrorReply error,
                                             HeaderFields fields, bool closes) {
  for (auto& field : error.fields) fields.push_back(std::move(field));
  return Reply(place, error.status, std::move(error.body), std::move(fields), closes);
}

std::shared_ptr<Exchange> Door::Routes::Tell(const Place& place, absl::StatusOr<std::string> json,
                                             HeaderFields fields) {
  if (json.ok()) return Reply(place, 200, *std::move(json), std::move(fields));
  return Fail(place, MakeErrorReply(json.status(), place.dialect), std::move(fields));
}

std::shared_ptr<Exchange> Door::Routes::Answer(Request request) {
  const Place place = PlaceOf(request.path);
  rpc::RequestId id = NamesOf(request);
  HeaderFields fields = origins_.CorsFields(request);
  fields.emplace_back("x-request-id", id.own);
  if (!id.of_client.empty()) fields.emplace_back("x-client-request-id", id.of_client);
  if (const absl::Status status = origins_.Check(request); !status.ok()) {
    return Tell(place, status, std::move(fields));
  }
  if (place.endpoint == Endpoint::kUnknown) {
    const std::string message = "nothing is served at this path";
    return Fail(place, MakeErrorReply(404, "not_found", message, place.dialect), std::move(fields));
  }
  if (!Takes(place, request.method)) {
    fields.emplace_back("Allow", place.methods);
    const std::string message = absl::StrCat("this path takes ", place.methods);
    return Fail(place, MakeErrorReply(405, "method_not_allowed", message, place.dialect),
                std::move(fields));
  }
  if (request.method == "OPTIONS") return Preflight(place, std::move(fields));
  if (place.endpoint == Endpoint::kPage) return ShowPage(place, std::move(fields));
  if (place.endpoint == Endpoint::kHealth) return ShowHealth(place, std::move(fields));
  auto call = ContextOf(request, std::move(id));
  if (!call.ok()) return Tell(place, call.status(), std::move(fields));
  if (request.method != "POST") return Tell(place, Show(place, request), std::move(fields));
  return Ask(place, std::move(request), std::move(fields), *std::move(call));
}

// A browser asks before it sends a page's POST to another origin.
std::shared_ptr<Exchange> Door::Routes::Preflight(const Place& place, HeaderFields fields) {
  fields.emplace_back("Access-Control-Allow-Methods", place.methods);
  fields.emplace_back("Access-Control-Allow-Headers", "authorization, content-type, x-request-id");
  fields.emplace_back("Access-Control-Max-Age", "600");
  return Reply(place, 204, "", std::move(fields));
}

// Without the page a line, by which Ollama's client sees that somebody is there.
std::shared_ptr<Exchange> Door::Routes::ShowPage(const Place& place, HeaderFields fields) {
  metrics_.CountRequest(place.name, 200);
  fields.emplace_back("Cache-Control", "no-store");
  fields.emplace_back("X-Content-Type-Options", "nosniff");
  const bool shows = !page_policy_.empty();
  fields.emplace_back("Content-Type",
                      absl::StrCat(shows ? "text/html" : "text/plain", "; charset=utf-8"));
  if (shows) fields.emplace_back("Content-Security-Policy", page_policy_);
  if (shows) fields.emplace_back("Referrer-Policy", "no-referrer");
  return Answered({.fields = std::move(fields)},
                  shows ? std::string(PageHtml()) : "Thinkwire is running\n");
}

std::shared_ptr<Exchange> Door::Routes::ShowHealth(const Place& place, HeaderFields fields) {
  Health health = HealthOf(intake_.ListVariants());
  return Reply(place, health.live ? 200 : 503, std::move(health.json), std::move(fields));
}

absl::StatusOr<std::string> Door::Routes::Show(const Place& place, const Request& request) const {
  const std::vector<v1::Variant> variants = intake_.ListVariants();
  switch (place.endpoint) {
    case Endpoint::kModels:
      return ModelsJson(variants);
    case Endpoint::kModel:
      return ModelJson(variants, ModelOf(request.path));
    case Endpoint::kOllamaTags:
      return TagsJson(variants);
    case Endpoint::kOllamaRunning:
      return RunningJson(variants);
    default:
      return OllamaVersionJson();
  }
}

std::shared_ptr<Exchange> Door::Routes::Ask(const Place& place, Request request,
                                            HeaderFields fields, fleet::CallContext call) {
  if (const absl::Status status = CheckMediaType(request, place.dialect); !status.ok()) {
    return Fail(
        place,
        MakeErrorReply(415, "unsupported_media_type", std::string(status.message()), place.dialect),
        std::move(fields));
  }
  if (place.endpoint == Endpoint::kAnswerNow) {
    return AnswerNow(place, request, std::move(fields), call);
  }
  if (place.endpoint == Endpoint::kOllamaShow) {
    return Tell(place, ShowJson(intake_.ListVariants(), request.body), std::move(fields));
  }
  const bool chat = place.endpoint == Endpoint::kOllamaChat;
  if (chat || place.endpoint == Endpoint::kOllamaGenerate) {
    if (const auto load = ReadLoadRequest(request.body, chat)) {
      return Tell(place, LoadReplyJson(intake_.ListVariants(), *load, chat, std::time(nullptr)),
                  std::move(fields));
    }
  }
  return Generate(place, std::move(request.body),
                  {.call = std::move(call), .fields = std::move(fields), .dialect = place.dialect});
}

std::shared_ptr<Exchange> Door::Routes::AnswerNow(const Place& place, const Request& request,
                                                  HeaderFields fields,
                                                  const fleet::CallContext& call) {
  auto asked = ReadAnswerNow(request.body);
  if (!asked.ok()) return Tell(place, asked.status(), std::move(fields));
  auto answer = std::make_shared<AnswerNowCall>(
      open_, std::move(fields),
      [this, place](int status) { metrics_.CountRequest(place.name, status); });
  intake_.AnswerNow(call, *asked, [answer](const auto& outputs) { answer->Tell(outputs); });
  return answer;
}

std::shared_ptr<Exchange> Door::Routes::Generate(const Place& place, std::string body,
                                                 GenerationCall::Context context) {
  context.on_status = [&metrics = metrics_, name = place.name](int status) {
    metrics.CountRequest(name, status);
  };
  return GenerationCall::Begin(intake_, open_, std::move(context), body.size(),
                               [&] { return Read(place, body); });
}

absl::StatusOr<Asked> Door::Routes::Read(const Place& place, const std::string& body) const {
  if (place.endpoint == Endpoint::kChat) return ReadChatRequest(body, reader_);
  if (place.endpoint == Endpoint::kCompletions) return ReadCompletionRequest(body, reader_);
  if (place.endpoint == Endpoint::kResponses) return ReadResponsesRequest(body, reader_);
  const bool chat = place.endpoint == Endpoint::kOllamaChat;
  ASSIGN_OR_RETURN(Asked asked,
                   chat ? ReadOllamaChat(body, reader_) : ReadOllamaGenerate(body, reader_));
  if (asked.context_tokens > 0) {
    RETURN_IF_ERROR(CheckContext(intake_.ListVariants(), asked));
  }
  return asked;
}

absl::StatusOr<fleet::CallContext> Door::Routes::ContextOf(const Request& request,
                                                           rpc::RequestId id) const {
  fleet::CallContext call;
  call.id = std::move(id);
  call.traceparent = Shown(request.header(rpc::kTraceparentMetadata), rpc::kMaxTraceparentBytes);
  call.trace = ContinueTrace(call.traceparent);
  if (needs_key_) {
    ASSIGN_OR_RETURN(call.tenant, intake_.TenantOf(KeyOf(request), request.certificate_names));
  }
  call.peer = intake_.PeerOf(call.tenant, request.peer);
  return call;
}

absl::StatusOr<std::unique_ptr<Door>> Door::Open(const Options& options, Intake& intake,
                                                 prometheus::Registry& registry) {
  std::unique_ptr<Door> door(new Door(options, intake, registry));
  if (!options.tls.certificate.empty()) {
    ASSIGN_OR_RETURN(door->tls_, TlsContexts::Load(options.tls));
  }
  ASSIGN_OR_RETURN(door->server_, Server::Listen({.listen = options.listen,
                                                  .max_connections = options.max_connections,
                                                  .trusted = options.trusted,
                                                  .patience = options.patience,
                                                  .tls = door->tls_.get(),
                                                  .connections = &door->metrics_->connections(),
                                                  .refused = &door->metrics_->refused(),
                                                  .displaced = &door->metrics_->displaced()}));
  door->server_->Start(*door->site_);
  return door;
}

Door::Door(const Options& options, Intake& intake, prometheus::Registry& registry)
    : metrics_(std::make_unique<DoorMetrics>(registry)),
      site_(std::make_unique<Routes>(options, intake, *metrics_, open_)) {}

Door::~Door() {
  if (server_ == nullptr) return;
  server_->Stop();
  CHECK(open_.WaitUntilNone(kPatience), "every generation ends soon after its client's cancel");
}

int Door::port() const { return server_->port(); }

void Door::BeginDrain() { server_->BeginDrain(); }

}  // namespace thinkwire::router::http
