#include "router/client/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "common/check.h"
#include "common/input_limits.h"

namespace thinkwire::router::client {
namespace {

constexpr char kProgram[] = "thinkwire-chat";  // as ~/.editrc names it
constexpr int kHistorySize = 1000;
constexpr std::wstring_view kPasteEnd = L"\x1b[201~";
constexpr wchar_t kCtrlC = 3;

// libedit reads and shows what the locale can: UTF-8, also where the locale is C as in a container.
void SpeakUtf8() {
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

bool IsControl(wchar_t c) { return (c < 0x20 && c != L'\t') || (c >= 0x7F && c < 0xA0); }

// What is left of a paste in a question: no control but tabs and line feeds, of which terminals
// make carriage returns.
std::wstring Cleaned(std::wstring_view paste) {
  std::wstring text;
  for (const wchar_t c : paste) {
    const bool ends_line = c == L'\r' || c == L'\n';
    if (ends_line || !IsControl(c)) text += ends_line ? L'\n' : c;
  }
  return text;
}

// The rest of a paste that has begun, without its end. Ctrl-C, and the terminal's end, end it too.
std::wstring ReadPaste(EditLine* editor) {
  std::wstring paste;
  for (wchar_t c = 0; el_wgetc(editor, &c) == 1 && c != kCtrlC;) {
    paste += c;
    if (paste.ends_with(kPasteEnd)) {
      paste.resize(paste.size() - kPasteEnd.size());
      break;
    }
  }
  return paste;
}

unsigned char InsertPaste(EditLine* editor, wint_t /*key*/) {
  std::wstring text = Cleaned(ReadPaste(editor));
  if (text.size() > kMaxQuestionBytes) text.resize(kMaxQuestionBytes);
  if (!text.empty() && el_winsertstr(editor, text.c_str()) != 0) return CC_ERROR;
  return CC_REFRESH;
}

}  // namespace

struct LineEditor::Libedit {
  Libedit();
  ~Libedit();
  Libedit(const Libedit&) = delete;
  Libedit& operator=(const Libedit&) = delete;

  static Libedit& Of(EditLine* editor);
  static const char* Prompt(EditLine* editor);
  static unsigned char Abandon(EditLine* editor, wint_t key);
  void Bind();
  void HoldTerminal();
  void KeepColumns();

  History* const history;
  EditLine* const editor;
  std::string prompt;
  bool abandoned = false;
};

LineEditor::Libedit::Libedit()
    : history(history_init()), editor((SpeakUtf8(), el_init(kProgram, stdin, stderr, stderr))) {
  CHECK(history != nullptr && editor != nullptr, "a line editor takes little memory");
  HistEvent event{};
  ::history(history, &event, H_SETSIZE, kHistorySize);
  ::history(history, &event, H_SETUNIQUE, 1);
  el_set(editor, EL_CLIENTDATA, this);
  el_set(editor, EL_PROMPT, &Prompt);
  el_set(editor, EL_HIST, &::history, history);
  el_set(editor, EL_SIGNAL, 1);  // the terminal is right after Ctrl-Z, and when its size changes
  el_set(editor, EL_EDITOR, "emacs");
  KeepColumns();
  HoldTerminal();
  Bind();
}

LineEditor::Libedit::~Libedit() {
  el_end(editor);
  history_end(history);
}

LineEditor::Libedit& LineEditor::Libedit::Of(EditLine* editor) {
  Libedit* libedit = nullptr;
  el_get(editor, EL_CLIENTDATA, &libedit);
  return *libedit;
}

const char* LineEditor::Libedit::Prompt(EditLine* editor) { return Of(editor).prompt.c_str(); }

unsigned char LineEditor::Libedit::Abandon(EditLine* editor, wint_t /*key*/) {
  Of(editor).abandoned = true;
  el_push(editor, "\n");  // libedit then leaves the line as Enter does
  return CC_NORM;
}

// Ctrl-C is a key while a line is edited, and a signal else. While none is, the terminal keeps what
// is typed, instead of showing it amid an answer.
void LineEditor::Libedit::HoldTerminal() {
  el_set(editor, EL_SETTY, "-d", "intr=", nullptr);
  el_set(editor, EL_SETTY, "-x", "-icanon", "-echo", nullptr);
}

// Where a terminal can delete and insert characters, libedit counts one column for a wide one that
// comes to stand behind them, and leaves the cursor beside its place. Without, it writes the rest
// of the line anew.
void LineEditor::Libedit::KeepColumns() {
  for (const char* capability : {"dc", "DC", "ic", "IC", "im"}) {
    el_set(editor, EL_SETTC, capability, "", nullptr);
  }
}

void LineEditor::Libedit::Bind() {
  // Wide, as libedit copies narrow names and never frees them.
  el_wset(editor, EL_ADDFN, L"abandon-line", L"Leave the line unsent", &Abandon);
  el_wset(editor, EL_ADDFN, L"insert-paste", L"Insert what is pasted", &InsertPaste);
  // What readline has and libedit lacks.
  el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_set(editor, EL_BIND, "\x1b[1;5C", "em-next-word", nullptr);
  el_set(editor, EL_BIND, "\x1b[1;5D", "ed-prev-word", nullptr);
  el_set(editor, EL_BIND, "\x1b[3~", "ed-delete-next-char", nullptr);
  el_set(editor, EL_BIND, "\x1b[H", "ed-move-to-beg", nullptr);
  el_set(editor, EL_BIND, "\x1b[F", "ed-move-to-end", nullptr);
  el_source(editor, nullptr);
  el_set(editor, EL_BIND, "^C", "abandon-line", nullptr);
  el_set(editor, EL_BIND, "\x1b[200~", "insert-paste", nullptr);
}

bool LineEditor::CanBe() { return isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0; }

LineEditor::LineEditor() : libedit_(std::make_unique<Libedit>()) {}

LineEditor::~LineEditor() = default;

Line LineEditor::Read(const std::string& prompt) {
  libedit_->prompt = prompt;
  libedit_->abandoned = false;
  int size = 0;
  const char* typed = el_gets(libedit_->editor, &size);
  if (typed == nullptr) return {.kind = Line::Kind::kEnd};
  std::string text(typed, static_cast<std::size_t>(size));
  if (text.ends_with('\n')) text.pop_back();
  return {.kind = libedit_->abandoned ? Line::Kind::kAbandoned : Line::Kind::kText,
          .text = std::move(text)};
}

void LineEditor::Remember(const std::string& text) {
  HistEvent event{};
  ::history(libedit_->history, &event, H_ENTER, text.c_str());
}

}  // namespace thinkwire::router::client
