#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/hub/http.h"
#include "worker/hub/model_name.h"

namespace thinkwire::worker::hub {

// What the hub has at a revision.
struct HubRevision {
  std::string commit{};
  std::vector<std::string> files{};  // all of its paths, checked by IsSafePath
};

// One file of it.
struct HubFile {
  std::string path{};
  std::string url{};
  std::string etag{};  // safe as a file's name
  std::int64_t bytes = 0;
};

// What is asked of a hub before anything is downloaded, by the requests that huggingface_hub has
// made for years, so that mirrors know them:
//   GET  ENDPOINT/api/models/REPO/revision/REVISION   sha, siblings[].rfilename
//   HEAD ENDPOINT/REPO/resolve/COMMIT/PATH            X-Repo-Commit; X-Linked-Etag, X-Linked-Size
//   of
//                                                     LFS and Xet files; ETag, Content-Length
// A busy or broken hub is asked again (Backoff).
// Threads: one. Fails: NOT_FOUND or PERMISSION_DENIED, with what would help; UNAVAILABLE it cannot
// be reached or does not answer; FAILED_PRECONDITION what answers is no such hub.
class HubApi {
 public:
  HubApi(std::string endpoint, HttpOptions options);

  absl::StatusOr<HubRevision> Ask(const ModelName& name);
  absl::StatusOr<HubFile> Stat(const std::string& repo, const std::string& commit,
                               const std::string& path);

 private:
  absl::Status Refusal(const std::string& repo, const std::string& what, const HttpReply& reply);
  absl::StatusOr<HttpReply> Head(const std::string& url);

  const std::string endpoint_;
  const HttpOptions options_;
  HttpConnection connection_;
  HttpConnection stranger_;  // for hosts that must not see the token
};

}  // namespace thinkwire::worker::hub
