#pragma once

#include <string>
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
// lines end with LF alone, a body has no chunks, and what differs from run to run is a word.
struct Transcript {
  std::string name;
  std::vector<std::string> situation;
  std::string request;  // as it is sent
  std::string reply;
};

// Those of a file, which must be there.
std::vector<Transcript> ReadTranscripts(const std::string& path);

// A reply as a file would have it.
std::string ShownReply(const std::string& received);

}  // namespace thinkwire::router::http
