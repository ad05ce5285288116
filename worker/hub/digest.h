#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace thinkwire::worker::hub {

// What a file's bytes come to, in the way that its ETag says: of 64 hexadecimal digits SHA-256, as
// of files in LFS and Xet; of 40 the id of Git's blob (SHA-1 behind "blob SIZE" and a zero). Others
// say nothing of the bytes, and whatever comes will do.
class Digest {
 public:
  Digest(std::string etag, std::int64_t bytes);
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Add(std::string_view bytes);

  // The whole in hexadecimal; the ETag itself where that says nothing. REQUIRES: nothing after it.
  std::string Result();

 private:
  struct Context;
  const std::string etag_;
  const std::unique_ptr<Context> context_;  // null: nothing is summed
};

}  // namespace thinkwire::worker::hub
