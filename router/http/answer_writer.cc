#include "router/http/answer_writer.h"

#include "router/http/ollama_writer.h"
#include "router/http/reply_writer.h"
#include "router/http/responses_writer.h"

namespace thinkwire::router::http {

std::unique_ptr<AnswerWriter> MakeAnswerWriter(const ReplyForm& form, const std::string& id,
                                               const std::string& model, std::int64_t created) {
  if (form.dialect == Dialect::kOllama) {
    return std::make_unique<OllamaWriter>(form, model, created);
  }
  if (form.dialect == Dialect::kResponses) {
    return std::make_unique<ResponsesWriter>(form, id, created);
  }
  return std::make_unique<ReplyWriter>(form, id, created);
}

}  // namespace thinkwire::router::http
