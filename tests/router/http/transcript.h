#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::router::http {

// One request and what is answered, as a file of transcripts has them:
//
//   == a name
//   @ in what situation, a line each
//   > POST /v1/chat/completions HTTP/1.1
//   > Host: localhost
//   >
//   > {"model":"qwen-1.5b",…}
//   HTTP/1.1 200 OK
//   …
//
// A request with a body needs no Content-Length, and none a "Connection: close". Of the reply,
// lines end with LF alone, a body has no chunks, what differs from run to run is a word, and so is
// the page.
struct Transcript {
  std::string name;
  std::vector<std::string> situation;
  std::string request;  // as it is sent
  std::string reply;
};

// In a request: the x-request-id of a stream that runs meanwhile, which is as long.
inline constexpr std::string_view kIdThatRuns = "00000000000000000000000000000000";

// Those of a file, which must be there.
std::vector<Transcript> ReadTranscripts(const std::string& path);

// A reply as a file would have it.
std::string ShownReply(const std::string& received);

}  // namespace thinkwire::router::http
