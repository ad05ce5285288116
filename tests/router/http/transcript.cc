#include "tests/router/http/transcript.h"

#include <fstream>
#include <regex>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/check.h"
#include "common/strings.h"
#include "router/http/page.h"
#include "tests/router/http/http_client.h"

namespace thinkwire::router::http {
namespace {

// With what may be left out.
std::string Completed(const std::string& request) {
  const std::string letters(17'000, 'x');
  const std::string written = absl::StrReplaceAll(request, {{"(17000 times x)", letters}});
  const std::size_t end = written.find("\r\n\r\n");
  CHECK(end != written.npos, "a request's head ends with an empty line");
  const std::string head = written.substr(0, end + 2);
  std::string body = written.substr(end + 4);
  while (absl::EndsWith(body, "\r\n")) body.resize(body.size() - 2);
  std::string more = "Connection: close\r\n";
  if (!body.empty() && !absl::StrContains(head, "Content-Length")) {
    absl::StrAppend(&more, "Content-Length: ", body.size(), "\r\n");
  }
  return absl::StrCat(head, more, "\r\n", body);
}

std::string Replaced(const std::string& text, const char* pattern, const char* word) {
  return std::regex_replace(text, std::regex(pattern), word);
}

}  // namespace

std::vector<Transcript> ReadTranscripts(const std::string& path) {
  std::ifstream file(path);
  CHECK(file.is_open(), "the transcripts are there");
  std::vector<Transcript> all;
  for (std::string line; std::getline(file, line);) {
    if (absl::StartsWith(line, "== ")) {
      all.push_back({.name = line.substr(3), .situation = {}, .request = {}, .reply = {}});
    } else if (all.back().reply.empty() && absl::StartsWith(line, "@ ")) {
      all.back().situation.push_back(line.substr(2));
    } else if (all.back().reply.empty() && absl::StartsWith(line, ">")) {
      absl::StrAppend(&all.back().request, line.size() > 2 ? line.substr(2) : "", "\r\n");
    } else {
      absl::StrAppend(&all.back().reply, line, "\n");
    }
  }
  for (Transcript& one : all) one.request = Completed(one.request);
  return all;
}

std::string ShownReply(const std::string& received) {
  const Reply reply = ParseReply(received);
  std::string text = absl::StrCat(absl::StrReplaceAll(reply.head, {{"\r\n", "\n"}}), "\n",
                                  reply.body, reply.body.empty() ? "" : "\n");
  text = absl::StrReplaceAll(text, {{View(PageHtml()), "(page.html)"}});
  text = Replaced(Normalised(std::move(text)), "\nDate: [^\n]*", "\nDate: D");
  text = Replaced(text, "\nx-request-id: [0-9a-f]{32}", "\nx-request-id: ID");
  text = Replaced(text, R"("created_at":"[0-9TZ:-]{20}")", R"("created_at":"T")");
  text = Replaced(text, R"("total_duration":[0-9]+)", R"("total_duration":9)");
  text = Replaced(text, R"(127\.0\.0\.1:[0-9]+)", "ADDRESS");
  text = Replaced(text, "'sha256-[^']*'", "'sha256-H'");
  return Replaced(text, "\nContent-Length: [0-9]+", "\nContent-Length: N");
}

}  // namespace thinkwire::router::http
