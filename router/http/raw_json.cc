#include "router/http/raw_json.h"

#include <cstddef>

namespace thinkwire::router::http {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

// Where the string that begins at `at` ends: after its second quote.
std::size_t EndOfString(std::string_view json, std::size_t at) {
  for (++at; json[at] != '"'; ++at) {
    if (json[at] == '\\') ++at;
  }
  return at + 1;
}

// Likewise of any value.
std::size_t EndOfValue(std::string_view json, std::size_t at) {
  if (json[at] == '"') return EndOfString(json, at);
  if (json[at] != '{' && json[at] != '[') {
    const std::size_t end = json.find_first_of(",]} \t\r\n", at);
    return end == json.npos ? json.size() : end;
  }
  for (int depth = 0; at < json.size();) {
    const char c = json[at];
    if (c == '"') {
      at = EndOfString(json, at);
      continue;
    }
    ++at;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) break;
  }
  return at;
}

// Of one that is an object; else empty.
std::string_view Member(std::string_view object, std::string_view name) {
  std::size_t at = object.find_first_not_of(kBlanks);
  if (at == object.npos || object[at] != '{') return {};
  while (true) {
    at = object.find_first_not_of(" \t\r\n,{", at);
    if (object[at] != '"') return {};  // the end
    const std::size_t end_of_key = EndOfString(object, at);
    const std::string_view key = object.substr(at + 1, end_of_key - at - 2);
    at = object.find_first_not_of(kBlanks, object.find(':', end_of_key) + 1);
    const std::size_t end = EndOfValue(object, at);
    if (key == name) return object.substr(at, end - at);
    at = end;
  }
}

}  // namespace

std::string_view RawMember(std::string_view json, std::initializer_list<std::string_view> path) {
  for (const std::string_view name : path) {
    json = Member(json, name);
    if (json.empty()) break;
  }
  return json;
}

}  // namespace thinkwire::router::http
