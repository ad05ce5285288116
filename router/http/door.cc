#include "router/http/door.h"

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
#include "router/http/door_metrics.h"
#include "router/http/errors.h"
#include "router/http/generation_call.h"
#include "router/http/models.h"
#include "router/http/origin_check.h"
#include "router/http/request_reader.h"
#include "router/http/server.h"
#include "router/http/tls_contexts.h"

namespace thinkwire::router::http {
namespace {

// Generations that were cancelled end at once; more than this is a bug.
constexpr std::chrono::seconds kPatience{60};
constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr char kJson[] = "application/json";

enum class Endpoint { kChat, kCompletions, kModels, kModel, kHealth, kUnknown };

struct Place {
  Endpoint endpoint;
  const char* name;     // in metrics
  const char* methods;  // that it takes, for Allow
};

constexpr Place kUnknownPlace{Endpoint::kUnknown, "other", ""};
constexpr std::pair<std::string_view, Place> kPlaces[] = {
    {"/v1/chat/completions", {Endpoint::kChat, "chat_completions", "POST, OPTIONS"}},
    {"/v1/completions", {Endpoint::kCompletions, "completions", "POST, OPTIONS"}},
    {"/v1/models", {Endpoint::kModels, "models", "GET, HEAD, OPTIONS"}},
    {"/health", {Endpoint::kHealth, "health", "GET, HEAD, OPTIONS"}},
};

Place PlaceOf(const std::string& path) {
  for (const auto& [known, place] : kPlaces) {
    if (path == known) return place;
  }
  if (absl::StartsWith(path, View(kModelPrefix)) && path.size() > kModelPrefix.size()) {
    return {Endpoint::kModel, "model", "GET, HEAD, OPTIONS"};
  }
  return kUnknownPlace;
}

bool Takes(const Place& place, const std::string& method) {
  return absl::StrContains(absl::StrCat(", ", place.methods, ","), absl::StrCat(" ", method, ","));
}

// "%2F" in a model's name, as clients write "org/name".
std::string Unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) &&
                        absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]));
    if (!escape) {
      out.push_back(text[i]);
      continue;
    }
    out.push_back(static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
    i += 2;
  }
  return out;
}

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

absl::Status CheckMediaType(const Request& request) {
  const std::string type = absl::AsciiStrToLower(View(request.header("content-type")));
  const absl::string_view word =
      absl::StripAsciiWhitespace(absl::string_view(type).substr(0, type.find(';')));
  if (word != kJson) return absl::InvalidArgumentError("Content-Type must be application/json");
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
        origins_(ReadList(options.hosts), ReadList(options.cors_origins)),
        intake_(intake),
        metrics_(metrics),
        open_(open) {}

  std::shared_ptr<Exchange> Answer(Request request) override;
  std::shared_ptr<Exchange> Refuse(int status, const std::string& message) override {
    return Fail(kUnknownPlace, MakeErrorReply(status, "bad_http", message), {}, /*closes=*/true);
  }

 private:
  std::shared_ptr<Exchange> Reply(const Place& place, int status, std::string body,
                                  HeaderFields fields, bool closes = false);
  std::shared_ptr<Exchange> Fail(const Place& place, ErrorReply error, HeaderFields fields,
                                 bool closes = false);
  std::shared_ptr<Exchange> Preflight(const Place& place, HeaderFields fields);
  std::shared_ptr<Exchange> Show(const Place& place, const Request& request, HeaderFields fields);
  std::shared_ptr<Exchange> Generate(const Place& place, Request request, HeaderFields fields,
                                     GenerationCall::Context context);
  absl::StatusOr<fleet::CallContext> ContextOf(const Request& request) const;

  const ReaderOptions reader_;
  const bool needs_key_;
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

std::shared_ptr<Exchange> Door::Routes::Answer(Request request) {
  const Place place = PlaceOf(request.path);
  HeaderFields fields = origins_.CorsFields(request);
  if (const absl::Status status = origins_.Check(request); !status.ok()) {
    return Fail(place, MakeErrorReply(status), std::move(fields));
  }
  if (place.endpoint == Endpoint::kUnknown) {
    return Fail(place, MakeErrorReply(404, "not_found", "nothing is served at this path"),
                std::move(fields));
  }
  if (!Takes(place, request.method)) {
    fields.emplace_back("Allow", place.methods);
    return Fail(
        place,
        MakeErrorReply(405, "method_not_allowed", absl::StrCat("this path takes ", place.methods)),
        std::move(fields));
  }
  if (request.method == "OPTIONS") return Preflight(place, std::move(fields));
  if (place.endpoint == Endpoint::kHealth) return Show(place, request, std::move(fields));
  auto call = ContextOf(request);
  if (!call.ok()) return Fail(place, MakeErrorReply(call.status()), std::move(fields));
  fields.emplace_back("x-request-id", call->id.own);
  if (!call->id.of_client.empty()) fields.emplace_back("x-client-request-id", call->id.of_client);
  if (place.endpoint == Endpoint::kModels || place.endpoint == Endpoint::kModel) {
    return Show(place, request, std::move(fields));
  }
  return Generate(place, std::move(request), std::move(fields), {.call = *std::move(call)});
}

// A browser asks before it sends a page's POST to another origin.
std::shared_ptr<Exchange> Door::Routes::Preflight(const Place& place, HeaderFields fields) {
  fields.emplace_back("Access-Control-Allow-Methods", place.methods);
  fields.emplace_back("Access-Control-Allow-Headers", "authorization, content-type, x-request-id");
  fields.emplace_back("Access-Control-Max-Age", "600");
  return Reply(place, 204, "", std::move(fields));
}

std::shared_ptr<Exchange> Door::Routes::Show(const Place& place, const Request& request,
                                             HeaderFields fields) {
  const std::vector<v1::Variant> variants = intake_.ListVariants();
  if (place.endpoint == Endpoint::kHealth) {
    Health health = HealthOf(variants);
    return Reply(place, health.live ? 200 : 503, std::move(health.json), std::move(fields));
  }
  if (place.endpoint == Endpoint::kModels) {
    return Reply(place, 200, ModelsJson(variants), std::move(fields));
  }
  auto model = ModelJson(variants, Unescaped(request.path.substr(kModelPrefix.size())));
  if (!model.ok()) return Fail(place, MakeErrorReply(model.status()), std::move(fields));
  return Reply(place, 200, *std::move(model), std::move(fields));
}

std::shared_ptr<Exchange> Door::Routes::Generate(const Place& place, Request request,
                                                 HeaderFields fields,
                                                 GenerationCall::Context context) {
  if (const absl::Status status = CheckMediaType(request); !status.ok()) {
    return Fail(place, MakeErrorReply(415, "unsupported_media_type", std::string(status.message())),
                std::move(fields));
  }
  context.fields = std::move(fields);
  context.on_status = [&metrics = metrics_, name = place.name](int status) {
    metrics.CountRequest(name, status);
  };
  const std::string body = std::move(request.body);
  const bool chat = place.endpoint == Endpoint::kChat;
  return GenerationCall::Begin(intake_, open_, std::move(context), body.size(), [&] {
    return chat ? ReadChatRequest(body, reader_) : ReadCompletionRequest(body, reader_);
  });
}

absl::StatusOr<fleet::CallContext> Door::Routes::ContextOf(const Request& request) const {
  fleet::CallContext call;
  call.id.own = rpc::MakeRequestId();
  call.id.of_client =
      Shown(request.header(rpc::kClientRequestIdMetadata), rpc::kMaxClientRequestIdBytes);
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
