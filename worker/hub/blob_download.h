#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "worker/hub/http.h"
#include "worker/hub/progress.h"

namespace thinkwire::worker::hub {

// One file, and where it shall be.
struct BlobRequest {
  std::string url{};
  std::string name{};  // for messages
  std::string etag{};  // that its bytes must come to, as Digest has it
  std::int64_t bytes = 0;
  std::filesystem::path target{};
  std::filesystem::path incomplete{};  // in a folder of the target's file system
};

struct DownloadOptions {
  HttpOptions http{};
  int connections = 0;                  // at once, of one file; 0: one, and more if it is slow
  std::int64_t piece_bytes = 32 << 20;  // that one of several asks for
};

// Brings a file by one connection, or by several where one is slow, and gives it its name once its
// size and digest are as the hub says; nobody ever sees a part of it under that name.
//
// What is there of it, whoever left it, is gone on from: `incomplete` holds a beginning of the file
// and nothing else, at any moment, as huggingface_hub up to 1.x leaves one and asks for what is
// behind it. Ranges that come before their turn lie beside it, as INCOMPLETE.FIRST, and move onto
// it as it reaches them. A killed process loses nothing that it has written. Files of another
// process's own (2.x: ETAG.8 hexadecimal digits.incomplete) are taken up if they have no holes.
// Where bytes that were gone on from turn out to be wrong, all of it is brought anew, once.
//
// REQUIRES: the caller holds the blob's lock. Blocks.
// Fails: as FetchRange and GrowingFile; DATA_LOSS the digest is another, and nothing is kept.
absl::Status DownloadBlob(const BlobRequest& request, const DownloadOptions& options,
                          Progress& progress);

}  // namespace thinkwire::worker::hub
