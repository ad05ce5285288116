// Loaded before the C library into a process under test (LD_PRELOAD): names are looked up in the
// file named by THINKWIRE_NAMES_FILE, which another process may change at any time. A line is a
// name and its addresses; what has none is asked of the machine.

#include <dlfcn.h>
#include <netdb.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace {

using Function = int(const char*, const char*, const addrinfo*, addrinfo**);

Function* Next() {
  static auto* const next = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "getaddrinfo"));
  return next;
}

// The rest of the name's line.
std::string AddressesOf(const std::string& name) {
  const char* const path = std::getenv("THINKWIRE_NAMES_FILE");
  std::ifstream file(path == nullptr ? "" : path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + " ")) return line.substr(name.size());
  }
  return "";
}

}  // namespace

extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints,
                           addrinfo** out) {
  std::istringstream addresses(AddressesOf(name == nullptr ? "" : name));
  addrinfo** end = out;
  *out = nullptr;
  for (std::string address; addresses >> address;) {
    // The C library frees each by itself.
    if (const int error = Next()(address.c_str(), service, hints, end); error != 0) return error;
    while (*end != nullptr) end = &(*end)->ai_next;
  }
  return *out != nullptr ? 0 : Next()(name, service, hints, out);
}
