#include "common/version.h"

#include "absl/strings/str_cat.h"
#include "commit.h"
#include "common/strings.h"

namespace thinkwire {

std::string VersionLine(std::string_view program) {
  return absl::StrCat(View(program), " ", THINKWIRE_VERSION, " (commit ", THINKWIRE_COMMIT, ")\n");
}

}  // namespace thinkwire
