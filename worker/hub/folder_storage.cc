#include <openssl/evp.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "common/check.h"
#include "worker/hub/digest.h"
#include "worker/hub/storage.h"

namespace thinkwire::worker::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = 1 << 20;

// huggingface_hub's name of an incomplete file begins with this of its record's name.
std::string ShortHash(const std::string& text) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), static_cast<unsigned char*>(digest), &size, EVP_sha1(),
                   nullptr) == 1,
        "OpenSSL cannot sum up");
  const std::string base64 = absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest), std::size_t{size}));
  return absl::StrReplaceAll(base64, {{"+", "-"}, {"/", "_"}});
}

// Seconds since 1970 with six decimals, as time.time() is printed.
std::string Now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return absl::StrFormat("%.6f", std::chrono::duration<double>(now).count());
}

std::string DigestOf(const fs::path& path, const HubFile& file) {
  Digest digest(file.etag, file.bytes);
  std::ifstream in(path, std::ios::binary);
  std::vector<char> buffer(kReadBytes);
  while (in) {
    in.read(buffer.data(), std::ssize(buffer));
    digest.Add({buffer.data(), static_cast<std::size_t>(in.gcount())});
  }
  return digest.Result();
}

class FolderStorage final : public Storage {
 public:
  FolderStorage(fs::path folder, std::string commit)
      : folder_(std::move(folder)), commit_(std::move(commit)) {}

  const fs::path& folder() const override { return folder_; }

  Place PlaceOf(const HubFile& file) const override {
    const fs::path record = Record(file);
    const std::string hash = ShortHash(record.filename().string());
    return {.target = folder_ / file.path,
            .incomplete = record.parent_path() / absl::StrCat(hash, ".", file.etag, ".incomplete"),
            .lock = absl::StrCat(Records().string(), "/", file.path, ".lock")};
  }

  bool Has(const HubFile& file) const override {
    const fs::path path = folder_ / file.path;
    std::error_code absent;
    if (fs::file_size(path, absent) != static_cast<std::uintmax_t>(file.bytes) || absent) {
      return false;
    }
    return IsRecorded(path, file) || DigestOf(path, file) == file.etag;
  }

  absl::Status Settle(const HubFile& file) override {
    std::error_code failed;
    fs::create_directories(Record(file).parent_path(), failed);
    std::ofstream record(Record(file));
    record << commit_ << "\n" << file.etag << "\n" << Now() << "\n";
    record.close();
    if (record) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(Record(file).string(), ": cannot be written"));
  }

  absl::Status Finish() override {
    const fs::path ignore = folder_ / ".cache" / "huggingface" / ".gitignore";
    std::error_code absent;
    if (!fs::exists(ignore, absent)) std::ofstream(ignore) << "*";
    return absl::OkStatus();
  }

 private:
  fs::path Records() const { return folder_ / ".cache" / "huggingface" / "download"; }
  fs::path Record(const HubFile& file) const {
    return absl::StrCat(Records().string(), "/", file.path, ".metadata");
  }

  // Whether it was of that ETag when it was last written, give or take a second of the clock.
  bool IsRecorded(const fs::path& path, const HubFile& file) const {
    std::ifstream record(Record(file));
    std::string commit;
    std::string etag;
    double time = 0;
    struct stat info {};
    return (record >> commit >> etag >> time) && etag == file.etag &&
           ::stat(path.c_str(), &info) == 0 && static_cast<double>(info.st_mtim.tv_sec) - 1 <= time;
  }

  const fs::path folder_;
  const std::string commit_;
};

}  // namespace

std::unique_ptr<Storage> StoreInFolder(const fs::path& folder, const std::string& commit) {
  return std::make_unique<FolderStorage>(folder, commit);
}

}  // namespace thinkwire::worker::hub
