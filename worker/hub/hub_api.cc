#include "worker/hub/hub_api.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/json.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/hub/backoff.h"
#include "worker/hub/model_contents.h"

namespace thinkwire::worker::hub {
namespace {

constexpr std::size_t kMaxAnswerBytes = 8 << 20;  // 30,000 files
constexpr std::size_t kMaxEtagBytes = 128;
constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 44;
constexpr int kMaxRedirects = 5;

// A weak or strong ETag without its quotes.
std::string Unquoted(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.starts_with('"') && etag.ends_with('"')) {
    etag = etag.substr(1, etag.size() - 2);
  }
  return std::string(etag);
}

bool IsFileName(const std::string& etag) {
  return !etag.empty() && etag.size() <= kMaxEtagBytes && etag.front() != '.' &&
         std::ranges::all_of(etag, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                  c == '.';
         });
}

std::string UrlPath(const std::string& path) {
  std::string out;
  for (const auto part : absl::StrSplit(path, '/')) {
    absl::StrAppend(&out, out.empty() ? "" : "/", UrlPart({part.data(), part.size()}));
  }
  return out;
}

absl::Status NoHub(const std::string& url, const std::string& what) {
  return absl::FailedPreconditionError(
      absl::StrCat(url, ": ", what,
                   ", as a hub's answer would be; is HF_ENDPOINT right, or a proxy in the way?"));
}

HttpOptions WithoutToken(HttpOptions options) {
  options.token.clear();
  return options;
}

// Asks until there is an answer to live with.
absl::StatusOr<HttpReply> Persist(const HttpOptions& options,
                                  const std::function<absl::StatusOr<HttpReply>()>& ask) {
  Backoff backoff(options.stop);
  while (true) {
    auto reply = ask();
    const bool again = reply.ok() ? reply->status != 403 && IsWorthAnotherTry(*reply)
                                  : absl::IsUnavailable(reply.status());
    if (!again || !backoff.Wait(reply.ok() ? reply->retry_after_s : 0)) return reply;
  }
}

absl::StatusOr<std::string> Commit(const nlohmann::json& answer, const std::string& url) {
  const auto sha = answer.find("sha");
  if (sha == answer.end() || !sha->is_string() || !IsCommit(sha->get_ref<const std::string&>())) {
    return NoHub(url, "says no commit");
  }
  return sha->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Files(const nlohmann::json& answer,
                                               const std::string& url) {
  const auto siblings = answer.find("siblings");
  if (siblings == answer.end() || !siblings->is_array()) return NoHub(url, "lists no files");
  std::vector<std::string> files;
  for (const nlohmann::json& entry : *siblings) {
    const auto name = entry.is_object() ? entry.find("rfilename") : entry.end();
    if (name == entry.end() || !name->is_string()) return NoHub(url, "lists no files");
    // What could not be stored is not needed either.
    if (IsSafePath(name->get_ref<const std::string&>())) files.push_back(name->get<std::string>());
  }
  return files;
}

}  // namespace

HubApi::HubApi(std::string endpoint, HttpOptions options)
    : endpoint_(std::move(endpoint)),
      options_(std::move(options)),
      connection_(options_),
      stranger_(WithoutToken(options_)) {}

absl::StatusOr<HttpReply> HubApi::Head(const std::string& url) {
  if (absl::StartsWith(endpoint_, "https:") && !absl::StartsWith(url, "https:")) {
    return NoHub(url, "is without TLS");
  }
  HttpConnection& connection = HostOf(url) == HostOf(endpoint_) ? connection_ : stranger_;
  return Persist(options_, [&] { return connection.Head(url); });
}

absl::Status HubApi::Refusal(const std::string& repo, const std::string& what,
                             const HttpReply& reply) {
  const std::string code = reply.Header("x-error-code");
  const std::string page = absl::StrCat(endpoint_, "/", repo);
  const std::string said =
      absl::StrCat(what, " (", HostOf(endpoint_), " answers ", reply.status, ")");
  if (reply.status == 403 || code == "GatedRepo") {
    return absl::PermissionDeniedError(
        options_.token.empty()
            ? absl::StrCat(said, ": it is gated: accept its terms at ", page,
                           ", and say who you are by HF_TOKEN or `hf auth login`")
            : absl::StrCat(said, ": the account of HF_TOKEN may not have it: ask for access at ",
                           page, ", and let the token read gated repositories"));
  }
  if (reply.status == 401) {
    return absl::PermissionDeniedError(
        options_.token.empty()
            ? absl::StrCat(said,
                           ": there is none of that name for everybody: check it, or, of a "
                           "private or gated one, say who you are by HF_TOKEN")
            : absl::StrCat(said,
                           ": HF_TOKEN is not, or no more, a token of the hub, or there is "
                           "no such model"));
  }
  if (reply.status == 404) {
    const char* help = code == "RevisionNotFound" ? ": it has no such branch, tag or commit"
                       : code == "EntryNotFound"  ? ": it has no such file"
                                                  : ": there is no such model; check its name";
    return absl::NotFoundError(absl::StrCat(said, help));
  }
  if (reply.status == 429) {
    return absl::UnavailableError(
        absl::StrCat(said, ": too many requests; with HF_TOKEN more are allowed"));
  }
  const std::string message = ShownLine(reply.Header("x-error-message"), kMaxShownBytes);
  const std::string sentence = absl::StrCat(said, message.empty() ? "" : ": ", message);
  return reply.status >= 500 ? absl::UnavailableError(sentence)
                             : absl::FailedPreconditionError(sentence);
}

absl::StatusOr<HubRevision> HubApi::Ask(const ModelName& name) {
  const std::string url =
      absl::StrCat(endpoint_, "/api/models/", name.repo, "/revision/", UrlPart(name.revision));
  ASSIGN_OR_RETURN(const HttpReply reply,
                   Persist(options_, [&] { return connection_.Get(url, kMaxAnswerBytes); }));
  if (reply.status != 200) {
    return Refusal(name.repo, absl::StrCat(name.repo, "@", name.revision), reply);
  }
  const auto answer = ParseJson(reply.body, url);
  if (!answer.ok() || !answer->is_object()) return NoHub(url, "sends no JSON object");
  HubRevision revision;
  ASSIGN_OR_RETURN(revision.commit, Commit(*answer, url));
  ASSIGN_OR_RETURN(revision.files, Files(*answer, url));
  return revision;
}

absl::StatusOr<HubFile> HubApi::Stat(const std::string& repo, const std::string& commit,
                                     const std::string& path) {
  HubFile file{.path = path,
               .url = absl::StrCat(endpoint_, "/", repo, "/resolve/", commit, "/", UrlPath(path))};
  std::string url = file.url;
  HttpReply reply;
  // A redirect with X-Linked-Etag leads to the bytes, others to the same question elsewhere.
  for (int i = 0; i <= kMaxRedirects; ++i) {
    ASSIGN_OR_RETURN(reply, Head(url));
    if (reply.redirect.empty() || !reply.Header("x-linked-etag").empty()) break;
    url = reply.redirect;
  }
  if (reply.status >= 400) return Refusal(repo, absl::StrCat(repo, "/", path), reply);
  if (reply.Header("x-repo-commit") != commit) {
    return NoHub(url, "names no commit, or another one");
  }
  const std::string linked = reply.Header("x-linked-etag");
  file.etag = Unquoted(linked.empty() ? reply.Header("etag") : linked);
  const std::string size = reply.Header("x-linked-size");
  if (!IsFileName(file.etag)) return NoHub(url, "has no ETag");
  if (!absl::SimpleAtoi(size.empty() ? reply.Header("content-length") : size, &file.bytes) ||
      file.bytes < 0 || file.bytes > kMaxFileBytes) {
    return NoHub(url, "has no size");
  }
  return file;
}

}  // namespace thinkwire::worker::hub
