// OpenAI's Responses API at the door.

#include <gtest/gtest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "router/http/request_reader.h"
#include "tests/router/http/door_fixture.h"

namespace thinkwire::router::http {
namespace {

using Json = nlohmann::json;

constexpr char kPath[] = "/v1/responses";

// As of a response of SmallStream, but for its status and what it has by then.
std::string ResponseOf(const std::string& status, const std::string& output,
                       const std::string& usage) {
  return absl::StrCat(
      R"({"id":"resp_ID","object":"response","created_at":1,"status":")", status,
      R"(","background":false,"error":null,"incomplete_details":null,"instructions":null,)"
      R"("max_output_tokens":1000,"model":"qwen-1.5b","output":[)",
      output,
      R"(],"parallel_tool_calls":true,"previous_response_id":null,"store":false,)"
      R"("temperature":0,"tool_choice":"auto","tools":[],"top_p":0,"truncation":"disabled",)"
      R"("usage":)",
      usage,
      R"(,"metadata":{},"system_fingerprint":"fake","thinkwire":)"
      R"({"variant_reason":"named by the request","worker_reason":"the only live one: 0 queued, )"
      R"(0 running","seed":1,"max_tokens":1000}})");
}

constexpr char kUsage[] =
    R"({"input_tokens":3,"input_tokens_details":{"cached_tokens":0},"output_tokens":5,)"
    R"("output_tokens_details":{"reasoning_tokens":3},"total_tokens":8})";
constexpr char kReasoningPart[] = R"({"type":"reasoning_text","text":"So 2."})";
constexpr char kMessagePart[] =
    R"({"type":"output_text","text":"2","annotations":[],"logprobs":[]})";

std::string ReasoningItem(const std::string& status, const std::string& content) {
  return absl::StrCat(R"({"id":"rs_ID","type":"reasoning","summary":[],"content":[)", content,
                      R"(],"encrypted_content":null,"status":")", status, "\"}");
}

std::string MessageItem(const std::string& status, const std::string& content) {
  return absl::StrCat(R"({"id":"msg_ID","type":"message","status":")", status,
                      R"(","role":"assistant","content":[)", content, "]}");
}

std::string Whole() {
  return ResponseOf("completed",
                    absl::StrCat(ReasoningItem("completed", kReasoningPart), ",",
                                 MessageItem("completed", kMessagePart)),
                    kUsage);
}

std::string Event(int number, const std::string& type, const std::string& members) {
  return absl::StrCat("event: response.", type, "\ndata: {\"type\":\"response.", type,
                      "\",\"sequence_number\":", number, ",", members, "}\n\n");
}

class ResponsesDoorTest : public DoorTest {
 protected:
  Reply Respond(const std::string& more = "", const std::string& input = R"("1+1?")") {
    return Ask(port(), "POST", kPath,
               absl::StrCat(R"({"model":"qwen-1.5b","input":)", input, more, "}"));
  }
  // The stream's events, and of each its type alone.
  std::vector<Json> Stream(const std::string& more = "") {
    std::vector<Json> events;
    std::string_view text = streamed_ = Respond(more + R"(,"stream":true)").body;
    for (std::size_t at = text.find("data: "); at != text.npos; at = text.find("data: ")) {
      text.remove_prefix(at + 6);
      events.push_back(Json::parse(text.substr(0, text.find("\n\n"))));
      EXPECT_EQ(events.back()["sequence_number"], events.size() - 1);
    }
    return events;
  }
  static std::vector<std::string> Types(const std::vector<Json>& events) {
    std::vector<std::string> types;
    for (const Json& event : events) types.push_back(event["type"]);
    return types;
  }
  std::string streamed_;
};

TEST_F(ResponsesDoorTest, AnswersAsAWhole) {
  Open();
  const Reply reply = Respond();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-type"), "application/json");
  EXPECT_EQ(Normalised(reply.body), Whole());
  EXPECT_EQ(Requests("responses", "200"), 1);
}

TEST_F(ResponsesDoorTest, AnswersAsTheEventsThatBuildTheWhole) {
  Open();
  const Reply reply = Respond(R"(,"stream":true)");
  EXPECT_EQ(reply.field("content-type"), "text/event-stream; charset=utf-8");
  const std::string response = "\"response\":" + ResponseOf("in_progress", "", "null");
  const std::string thought = R"("item_id":"rs_ID","output_index":0,"content_index":0,)";
  const std::string message = R"("item_id":"msg_ID","output_index":1,"content_index":0,)";
  const std::string part = R"("part":)";
  const std::string no_text = R"({"type":"output_text","text":"","annotations":[],"logprobs":[]})";
  EXPECT_EQ(Normalised(reply.body),
            ": queued 0\n\n" + Event(0, "created", response) + Event(1, "in_progress", response) +
                Event(2, "output_item.added",
                      R"("output_index":0,"item":)" + ReasoningItem("in_progress", "")) +
                Event(3, "content_part.added",
                      thought + part + R"({"type":"reasoning_text","text":""})") +
                Event(4, "reasoning_text.delta", thought + R"("delta":"So 2.")") +
                Event(5, "reasoning_text.done", thought + R"("text":"So 2.")") +
                Event(6, "content_part.done", thought + part + kReasoningPart) +
                Event(7, "output_item.done",
                      R"("output_index":0,"item":)" + ReasoningItem("completed", kReasoningPart)) +
                Event(8, "output_item.added",
                      R"("output_index":1,"item":)" + MessageItem("in_progress", "")) +
                Event(9, "content_part.added", message + part + no_text) +
                Event(10, "output_text.delta", message + R"("delta":"2","logprobs":[])") +
                Event(11, "output_text.done", message + R"("text":"2","logprobs":[])") +
                Event(12, "content_part.done", message + part + kMessagePart) +
                Event(13, "output_item.done",
                      R"("output_index":1,"item":)" + MessageItem("completed", kMessagePart)) +
                Event(14, "completed", "\"response\":" + Whole()));
}

TEST_F(ResponsesDoorTest, TheReasoningStandsInForItsSummaryWhereThatIsAskedFor) {
  Open();
  const std::string ask = R"(,"reasoning":{"summary":"auto","effort":"low"})";
  const Json item = Json::parse(Respond(ask).body)["output"][0];
  EXPECT_EQ(item["summary"][0]["text"], "So 2.");
  EXPECT_TRUE(item["content"].empty());
  EXPECT_EQ(small_.last_call().request.request().thinking().budget_tokens(), 20);
  const std::vector<Json> events = Stream(ask);
  const std::vector<std::string> types = Types(events);
  const std::vector<std::string> summary(types.begin() + 3, types.begin() + 7);
  EXPECT_EQ(summary,
            (std::vector<std::string>{
                "response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done", "response.reasoning_summary_part.done"}));
  EXPECT_EQ(events[4]["summary_index"], 0);
}

TEST_F(ResponsesDoorTest, WhatALimitCutsIsIncomplete) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  events.erase(events.begin() + 4);
  events[3].mutable_reasoning_finished()->set_cause(v1::REASONING_FINISH_CAUSE_LENGTH);
  events[3].mutable_reasoning_finished()->clear_token_ids();
  events[3].mutable_reasoning_finished()->set_reasoning_tokens(2);
  v1::Finished& finished = *events[4].mutable_finished();
  finished.set_reason(v1::FINISH_REASON_LENGTH);
  finished.set_phase(v1::PHASE_REASONING);
  finished.clear_token_ids();
  finished.mutable_tokens()->set_reasoning_tokens(2);
  finished.mutable_tokens()->set_answer_tokens(0);
  events[1].mutable_started()->mutable_limits()->set_max_tokens(2);
  events[5].mutable_completed()->mutable_usage()->set_reasoning_tokens(2);
  events[5].mutable_completed()->mutable_usage()->set_answer_tokens(0);
  small_.SetScript({.events = events});
  const Json whole = Json::parse(Respond(R"(,"max_output_tokens":2)").body);
  EXPECT_EQ(whole["status"], "incomplete") << whole;
  EXPECT_EQ(whole["incomplete_details"]["reason"], "max_output_tokens");
  ASSERT_EQ(whole["output"].size(), 1u);
  EXPECT_EQ(whole["output"][0]["status"], "incomplete");
  EXPECT_EQ(Types(Stream(R"(,"max_output_tokens":2)")).back(), "response.incomplete");
}

TEST_F(ResponsesDoorTest, AnErrorInAStreamFailsTheResponse) {
  Open();
  std::vector<v1::GenerateResponse> script = SmallStream();
  script.resize(3);
  small_.SetScript(
      {.events = script, .end = rpc::Error(absl::StatusCode::kInternal, "BROKEN", "it \"broke\"")});
  const std::vector<Json> events = Stream();
  ASSERT_GE(events.size(), 2u);
  const Json& failed = events[events.size() - 2];
  EXPECT_EQ(failed["type"], "response.failed");
  EXPECT_EQ(failed["response"]["status"], "failed");
  EXPECT_EQ(failed["response"]["error"]["code"], "server_error");
  EXPECT_EQ(events.back()["type"], "error");
  EXPECT_EQ(events.back()["error"]["code"], "worker_protocol");
  EXPECT_EQ(events.back()["message"], failed["response"]["error"]["message"]);
}

TEST_F(ResponsesDoorTest, TheAnswersTokensHaveProbabilitiesIfTheyAreAskedFor) {
  Open();
  std::vector<v1::GenerateResponse> events = SmallStream();
  v1::TokenLogprob& logprob = *events[4].mutable_answer_delta()->add_logprobs();
  logprob.set_logprob(-0.5);
  logprob.set_token("2");
  logprob.add_alternatives()->set_logprob(-0.75);
  events[5].mutable_finished()->add_logprobs();
  small_.SetScript({.events = events});
  const std::string ask = R"(,"include":["message.output_text.logprobs"],"top_logprobs":1)";
  const Json whole = Json::parse(Respond(ask).body);
  EXPECT_TRUE(small_.last_call().request.request().sampling().token_bytes());
  const Json token = whole["output"][1]["content"][0]["logprobs"][0];
  EXPECT_EQ(token["token"], "2");
  EXPECT_EQ(token["bytes"], Json({50}));
  EXPECT_EQ(token["top_logprobs"][0]["bytes"], Json::array()) << "clients expect a list";
  EXPECT_EQ(Stream(ask)[10]["logprobs"][0], token);
}

// As in a rolling update that has come to the router first.
TEST_F(ResponsesDoorTest, AnOlderWorkerIsNotAskedForWhatItWouldRefuse) {
  Open();
  small_.SetStatus([](v1::WatchStatusResponse& status) {
    status.set_request_revision(0);
    status.set_draining(true);
  });
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  small_.SetStatus([](v1::WatchStatusResponse& status) { status.set_draining(false); });
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[4].mutable_answer_delta()->add_logprobs()->set_logprob(-0.5);
  events[5].mutable_finished()->add_logprobs();
  small_.SetScript({.events = events});
  const Reply reply = Respond(R"(,"include":["message.output_text.logprobs"])");
  EXPECT_EQ(reply.status, 200) << reply.body;
  const v1::PhaseSampling asked = small_.last_call().request.request().sampling();
  EXPECT_TRUE(asked.logprobs());
  EXPECT_FALSE(asked.has_token_bytes());
  const Json token = Json::parse(reply.body)["output"][1]["content"][0]["logprobs"][0];
  EXPECT_EQ(token["logprob"], -0.5);
  EXPECT_EQ(token["token"].get<std::string>().rfind("token_id:", 0), 0U) << token;
  EXPECT_EQ(token["bytes"], Json::array());
}

TEST_F(ResponsesDoorTest, InputIsAStringOrTheItemsOfEarlierTurns) {
  Open();
  Respond(R"(,"instructions":"Be brief.")",
          R"([{"role":"developer","content":"In French."},{"role":"user","content":"1+1?"},)"
          R"({"type":"reasoning","id":"rs_1","summary":[],"content":[]},)"
          R"({"type":"function_call","call_id":"c","name":"add","arguments":"{}"},)"
          R"({"type":"function_call_output","call_id":"c","output":"2"},)"
          R"({"type":"message","role":"assistant","id":"msg_1","status":"completed",)"
          R"("content":[{"type":"output_text","text":"2","annotations":[]}]},)"
          R"({"role":"user","content":[{"type":"input_text","text":"And 2+2?"}]}])");
  const v1::Chat chat = small_.last_call().request.request().prompt().chat();
  ASSERT_EQ(chat.messages_size(), 6);
  EXPECT_EQ(chat.messages(0).role(), v1::ROLE_SYSTEM);
  EXPECT_EQ(chat.messages(0).content(), "Be brief.\n\nIn French.");
  EXPECT_EQ(chat.messages(1).content(), "1+1?");
  EXPECT_EQ(chat.messages(2).tool_calls(0).name(), "add");
  EXPECT_EQ(chat.messages(3).role(), v1::ROLE_TOOL);
  EXPECT_EQ(chat.messages(3).content(), "2");
  EXPECT_EQ(chat.messages(4).content(), "2");
  EXPECT_EQ(chat.messages(5).content(), "And 2+2?");
  Respond(R"(,"instructions":"Be brief.")",
          R"([{"role":"user","content":"1+1?"},{"role":"system","content":"In French."}])");
  const v1::Chat later = small_.last_call().request.request().prompt().chat();
  ASSERT_EQ(later.messages_size(), 2);
  EXPECT_EQ(later.messages(0).content(), "Be brief.\n\nIn French.");
}

TEST_F(ResponsesDoorTest, FieldsReachTheWorkerAsTheyAreMeant) {
  Open();
  Respond(
      R"(,"max_output_tokens":90,"temperature":0.5,"store":false,"truncation":"disabled",)"
      R"("text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object","properties":)"
      R"({"z":{},"a":{}}}}},"prompt_cache_key":"k","tools":[],"background":false)");
  const v1::GenerateRequest request = small_.last_call().request.request();
  EXPECT_EQ(request.max_tokens(), 90);
  EXPECT_FLOAT_EQ(request.sampling().temperature(), 0.5);
  EXPECT_EQ(request.answer_format().json_schema(),
            R"({"type":"object","properties":{"z":{},"a":{}}})");
  Respond(R"(,"reasoning":{"effort":"none"},"text":{"format":{"type":"json_object"}})");
  EXPECT_EQ(small_.last_call().request.request().thinking().mode(), v1::THINKING_MODE_OFF);
  EXPECT_EQ(small_.last_call().request.request().answer_format().json_schema(),
            R"({"type":"object"})");
}

TEST_F(ResponsesDoorTest, WhatNeedsAnAnswerThatWasKeptIsRefused) {
  Open();
  for (const auto& [more, param, words] : std::vector<std::array<std::string, 3>>{
           {R"(,"store":true)", "store", "no answer is kept here"},
           {R"(,"previous_response_id":"resp_1")", "previous_response_id",
            "send the earlier items"},
           {R"(,"conversation":"c")", "conversation", "send the earlier items"},
       }) {
    const Reply reply = Respond(more);
    EXPECT_EQ(reply.status, 400) << more;
    const Json error = Json::parse(reply.body)["error"];
    EXPECT_EQ(error["param"], param);
    EXPECT_NE(error["message"].get<std::string>().find(words), std::string::npos) << error;
  }
  EXPECT_EQ(small_.num_calls(), 0);
}

TEST_F(ResponsesDoorTest, ErrorsNameTheClientsField) {
  Open();
  for (const auto& [more, param] : std::vector<std::pair<std::string, std::string>>{
           {R"(,"temperature":5)", "temperature"},
           {R"(,"max_output_tokens":-1)", "max_output_tokens"},
           {R"(,"top_logprobs":21)", "top_logprobs"},
           {R"(,"background":true)", "background"},
           {R"(,"tools":[{"type":"web_search"}])", "tools"},
           {R"(,"truncation":"auto")", "truncation"},
           {R"(,"prompt":{"id":"p"})", "prompt"},
           {R"(,"include":"x")", "include"},
           {R"(,"stop":["x",")" + std::string(257, 'y') + "\"]", "stop[1]"},
           {R"(,"instructions":1)", "instructions"},
           {R"(,"reasoning":{"effort":"most"})", "reasoning.effort"},
           {R"(,"reasoning":{"summary":"long"})", "reasoning.summary"},
           {R"(,"text":{"format":{"type":"json_schema"}})", "text.format.schema"},
           {R"(,"text":{"format":{"type":"xml"}})", "text.format.type"},
       }) {
    const Reply reply = Respond(more);
    EXPECT_EQ(reply.status, 400) << more;
    EXPECT_EQ(Json::parse(reply.body)["error"]["param"], param) << reply.body;
  }
  for (const auto& [input, param] : std::vector<std::pair<std::string, std::string>>{
           {"1", "input"},
           {"null", "input"},
           {"[]", "input"},
           {R"([{"role":"user","content":[{"type":"input_image"}]}])", "input[0].content[0].type"},
           {R"([{"type":"item_reference","id":"i"}])", "input[0]"},
           {R"([{"type":"computer_call"}])", "input[0].type"},
           {R"([{"type":"function_call","name":1}])", "input[0].name"},
           {R"([{"role":"nobody","content":""}])", "input[0].role"},
       }) {
    const Reply reply = Respond("", input);
    EXPECT_EQ(reply.status, 400) << input;
    EXPECT_EQ(Json::parse(reply.body)["error"]["param"], param) << reply.body;
  }
}

TEST_F(ResponsesDoorTest, ErrorsAboutMessagesCountTheClientsItems) {
  Open();
  const std::string user = R"({"role":"user","content":"1+1?"})";
  const std::string system = R"({"role":"system","content":"x"})";
  const std::string called =
      R"({"role":"user","content":"1+1?","tool_calls":[{"function":{"name":"f"}}]})";
  const std::string reasoning = R"({"type":"reasoning","summary":[]})";
  for (const auto& [items, more, param] : std::vector<std::array<std::string, 3>>{
           {user + "," + system + "," + called, "", "input[2].tool_calls"},
           {called, R"(,"instructions":"Be brief.")", "input[0].tool_calls"},
           {reasoning + "," + reasoning + "," + called, "", "input[2].tool_calls"},
           {system + "," + system + "," + called, R"(,"instructions":"x")", "input[2].tool_calls"},
       }) {
    const Reply reply = Respond(more, "[" + items + "]");
    EXPECT_EQ(reply.status, 400) << items;
    const Json error = Json::parse(reply.body)["error"];
    EXPECT_EQ(error["param"], param) << reply.body;
    EXPECT_TRUE(error["message"].get<std::string>().starts_with(param)) << reply.body;
  }
}

}  // namespace
}  // namespace thinkwire::router::http
