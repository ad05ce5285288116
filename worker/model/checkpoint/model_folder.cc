#include "worker/model/checkpoint/model_folder.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/shown_text.h"

namespace thinkwire::worker::model {
namespace {

// "organisation/name", and no path that somebody would type.
bool IsHubId(const std::string& model) {
  const std::size_t slash = model.find('/');
  const auto allowed = [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/';
  };
  return slash != model.npos && slash == model.rfind('/') && slash > 0 &&
         slash + 1 < model.size() && model[0] != '.' && std::ranges::all_of(model, allowed);
}

}  // namespace

absl::Status CheckModelFolder(const std::string& model) {
  std::error_code unreadable;
  if (!IsHubId(model) || std::filesystem::exists(model, unreadable)) return absl::OkStatus();
  const std::string folder = absl::StrCat("models/", model.substr(model.find('/') + 1));
  return absl::NotFoundError(
      absl::StrCat("--model ", ShownText(model),
                   ": there is no such folder; if it is an id of Hugging Face, `hf "
                   "download ",
                   ShownText(model), " --local-dir ", ShownText(folder),
                   "` downloads it, for --model ", ShownText(folder)));
}

}  // namespace thinkwire::worker::model
