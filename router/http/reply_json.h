#pragma once

#include <string>
#include <string_view>

#include "router/http/reply_form.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router::http {

// Parts of answers in OpenAI's JSON. Threads: pure.

// "stop" or "length", and nothing else: clients refuse words that they do not know. An answer that
// was ended as it went in circles was cut by a limit: "length".
std::string_view FinishReasonText(v1::FinishReason reason);

// {"prompt_tokens": …}, with reasoning and cached tokens among the details.
std::string UsageJson(const v1::Usage& usage);

// "reasoning_content":…,"reasoning":… as the form has it, `text` in each.
void AppendReasoning(ReasoningForm form, std::string_view text, std::string* out);

// What OpenAI's answers have no place for: the router's reasons, the seed.
std::string ExtensionJson(const v1::Started& started);

}  // namespace thinkwire::router::http
