#include "common/version.h"

#include "absl/strings/str_cat.h"
#include "commit.h"
#include "common/strings.h"

namespace thinkwire {

std::string Version() {
  return absl::StrCat(THINKWIRE_VERSION, " (commit ", THINKWIRE_COMMIT, ")");
}

std::string VersionLine(std::string_view program) {
  return absl::StrCat(View(program), " ", Version(), "\n");
}

}  // namespace thinkwire
