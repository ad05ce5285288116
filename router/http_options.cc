#include "router/http_options.h"

namespace thinkwire::router {

void AddHttpOptions(HttpOptions& options, std::vector<Option>& all) {
  const std::vector<Option> own = {
      {"http_listen", &options.listen, "host:port of the OpenAI-compatible HTTP door; empty: none"},
      {"http_max_connections", &options.max_connections,
       "open connections of the HTTP door; for one more an idle one is ended, or it is reset",
       Between(1, 100'000)},
      {"http_reasoning_field", &options.reasoning_field,
       "where HTTP clients find the reasoning: in the field or fields of that name, or as "
       "<think>…</think> in the content",
       OneOf("both|reasoning_content|reasoning|inline")},
      {"http_reasoning_efforts", &options.reasoning_efforts,
       "the reasoning tokens that each reasoning_effort of HTTP requests means"},
      {"http_strict", &options.strict,
       "refuse fields of HTTP requests that nobody here knows, rather than name them in a Warning"},
      {"http_page", &options.page, "show a page to chat with at / of the HTTP door"},
      {"http_hosts", &options.hosts,
       "names, with commas, by which HTTP clients reach this machine, beside addresses and "
       "localhost; *: any"},
      {"http_cors_origins", &options.cors_origins,
       "origins, with commas, such as https://chat.example.org, whose pages may use the HTTP door; "
       "*: any"},
  };
  all.insert(all.end(), own.begin(), own.end());
}

}  // namespace thinkwire::router
