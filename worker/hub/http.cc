#include "worker/hub/http.h"

#include <curl/curl.h>

#include <cstddef>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::size_t kMaxErrorBody = 4096;
constexpr std::size_t kMaxHeaders = 200;
constexpr std::size_t kMaxHeaderBytes = 8192;
constexpr long kMaxRedirects = 8;
constexpr long kConnectTimeoutS = 10;
constexpr long kReceiveBytes = 256 << 10;

void StartCurl() {
  static std::once_flag once;
  std::call_once(once, [] {
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "libcurl does not start");
  });
}

template <class Value>
void Set(CURL* curl, CURLoption option, Value value) {
  CHECK(curl_easy_setopt(curl, option, value) == CURLE_OK, "libcurl lacks an option");
}

// What one request collects.
struct Exchange {
  HttpReply reply{};
  const HttpConnection::Sink* sink = nullptr;  // null: into the reply's body
  std::size_t max_bytes = 0;
  bool refused = false;   // the sink wanted no more
  bool too_long = false;  // the body did not fit
};

int StatusOf(std::string_view line) {
  const std::size_t space = line.find(' ');
  int status = 0;
  for (std::size_t i = space + 1; space != line.npos && i < line.size() && i < space + 4; ++i) {
    if (!absl::ascii_isdigit(static_cast<unsigned char>(line[i]))) return 0;
    status = 10 * status + (line[i] - '0');
  }
  return status;
}

// One line of headers. Each redirect's, and a proxy's, begin anew.
std::size_t TakeHeader(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    exchange.reply = {.status = StatusOf(line)};
    return line.size();
  }
  const std::size_t colon = line.find(':');
  if (colon == line.npos || line.size() > kMaxHeaderBytes ||
      exchange.reply.headers.size() >= kMaxHeaders) {
    return line.size();
  }
  const absl::string_view value = absl::StripAsciiWhitespace(View(line.substr(colon + 1)));
  exchange.reply.headers[absl::AsciiStrToLower(View(line.substr(0, colon)))] = std::string(value);
  return line.size();
}

std::size_t TakeBody(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view bytes(data, size * count);
  const bool wanted = exchange.reply.status == 200 || exchange.reply.status == 206;
  if (wanted && exchange.sink != nullptr) {
    exchange.refused = !(*exchange.sink)(exchange.reply, bytes);
    return exchange.refused ? 0 : bytes.size();
  }
  const std::size_t limit = wanted ? exchange.max_bytes : kMaxErrorBody;
  if (exchange.reply.body.size() + bytes.size() > limit) {
    exchange.too_long = wanted;
    return wanted ? 0 : bytes.size();  // of an error its beginning is enough
  }
  exchange.reply.body.append(bytes);
  return bytes.size();
}

int Stopped(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::atomic<bool>*>(user)->load() ? 1 : 0;
}

}  // namespace

struct HttpConnection::Handle {
  CURL* curl = nullptr;
  curl_slist* headers = nullptr;
  HttpOptions options{};
  char error[CURL_ERROR_SIZE] = "";

  absl::StatusOr<HttpReply> Perform(const std::string& url, Exchange exchange);
  absl::Status Failure(const std::string& url, const Exchange& exchange, CURLcode code) const;
};

absl::Status HttpConnection::Handle::Failure(const std::string& url, const Exchange& exchange,
                                             CURLcode code) const {
  if (exchange.refused) return absl::AbortedError("not wanted");
  if (exchange.too_long) {
    return absl::ResourceExhaustedError(
        absl::StrCat(HostOf(url), ": an answer of more than ", exchange.max_bytes, " bytes"));
  }
  const std::string what = *error != '\0' ? error : curl_easy_strerror(code);
  return absl::UnavailableError(absl::StrCat(HostOf(url), ": ", ShownLine(what, kMaxShownBytes)));
}

absl::StatusOr<HttpReply> HttpConnection::Handle::Perform(const std::string& url,
                                                          Exchange exchange) {
  *error = '\0';
  Set(curl, CURLOPT_URL, url.c_str());
  // What is http:// by its user's will may go on so; what is https:// never becomes that.
  Set(curl, CURLOPT_REDIR_PROTOCOLS_STR, absl::StartsWith(url, "https:") ? "https" : "http,https");
  Set(curl, CURLOPT_HEADERDATA, static_cast<void*>(&exchange));
  Set(curl, CURLOPT_WRITEDATA, static_cast<void*>(&exchange));
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) return Failure(url, exchange, code);
  char* redirect = nullptr;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &redirect);
  if (redirect != nullptr) exchange.reply.redirect = redirect;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
  exchange.reply.retry_after_s = retry_after;
  return std::move(exchange.reply);
}

namespace {

// Whom the hub's certificates, and a proxy's, must be of.
void TrustAlone(const std::string& ca, CURL* curl) {
  std::error_code unknown;
  if (std::filesystem::is_directory(ca, unknown)) {
    Set(curl, CURLOPT_CAPATH, ca.c_str());
    Set(curl, CURLOPT_CAINFO, static_cast<const char*>(nullptr));
    return;
  }
  Set(curl, CURLOPT_CAINFO, ca.c_str());
  Set(curl, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
  Set(curl, CURLOPT_PROXY_CAINFO, ca.c_str());
}

}  // namespace

HttpConnection::HttpConnection(HttpOptions options) : handle_(std::make_unique<Handle>()) {
  StartCurl();
  CURL* curl = curl_easy_init();
  CHECK(curl != nullptr, "libcurl has no memory");
  handle_->curl = curl;
  handle_->options = std::move(options);
  if (!handle_->options.token.empty()) {
    const std::string line = absl::StrCat("Authorization: Bearer ", handle_->options.token);
    handle_->headers = curl_slist_append(nullptr, line.c_str());
  }
  if (!handle_->options.ca.empty()) TrustAlone(handle_->options.ca, curl);
  Set(curl, CURLOPT_HTTPHEADER, handle_->headers);
  Set(curl, CURLOPT_ERRORBUFFER, static_cast<char*>(handle_->error));
  Set(curl, CURLOPT_NOSIGNAL, 1L);
  Set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  Set(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
  Set(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutS);
  Set(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  Set(curl, CURLOPT_LOW_SPEED_TIME, handle_->options.silence_s);
  Set(curl, CURLOPT_BUFFERSIZE, kReceiveBytes);
  Set(curl, CURLOPT_USERAGENT, "thinkwire-worker");
  Set(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(curl, CURLOPT_HEADERFUNCTION, &TakeHeader);
  Set(curl, CURLOPT_WRITEFUNCTION, &TakeBody);
  if (handle_->options.stop == nullptr) return;
  Set(curl, CURLOPT_NOPROGRESS, 0L);
  Set(curl, CURLOPT_XFERINFOFUNCTION, &Stopped);
  Set(curl, CURLOPT_XFERINFODATA, handle_->options.stop);
}

HttpConnection::~HttpConnection() {
  curl_easy_cleanup(handle_->curl);
  curl_slist_free_all(handle_->headers);
}

absl::StatusOr<HttpReply> HttpConnection::Head(const std::string& url) {
  Set(handle_->curl, CURLOPT_NOBODY, 1L);
  Set(handle_->curl, CURLOPT_FOLLOWLOCATION, 0L);
  Set(handle_->curl, CURLOPT_RANGE, static_cast<const char*>(nullptr));
  return handle_->Perform(url, {});
}

absl::StatusOr<HttpReply> HttpConnection::Get(const std::string& url, std::size_t max_bytes) {
  Set(handle_->curl, CURLOPT_HTTPGET, 1L);
  Set(handle_->curl, CURLOPT_FOLLOWLOCATION, 1L);
  Set(handle_->curl, CURLOPT_RANGE, static_cast<const char*>(nullptr));
  return handle_->Perform(url, {.max_bytes = max_bytes});
}

absl::StatusOr<HttpReply> HttpConnection::Get(const std::string& url, const std::string& range,
                                              const Sink& sink) {
  Set(handle_->curl, CURLOPT_HTTPGET, 1L);
  Set(handle_->curl, CURLOPT_FOLLOWLOCATION, 1L);
  Set(handle_->curl, CURLOPT_RANGE, range.empty() ? nullptr : range.c_str());
  return handle_->Perform(url, {.sink = &sink});
}

const std::string& HttpReply::Header(const std::string& name) const {
  static const auto& none = *new std::string;
  const auto found = headers.find(name);
  return found == headers.end() ? none : found->second;
}

std::string HostOf(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == url.npos ? 0 : scheme + 3;
  const std::string host = url.substr(begin, url.find_first_of("/?#", begin) - begin);
  const std::size_t user = host.rfind('@');  // a name and password are nobody else's
  return user == host.npos ? host : host.substr(user + 1);
}

std::string UrlPart(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '~') {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", byte);
    }
  }
  return out;
}

}  // namespace thinkwire::worker::hub
