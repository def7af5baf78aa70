#include "cli/chat_input.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/utf8.h"
#include "cli/terminal.h"

namespace heed::cli {
namespace {

constexpr std::string_view kBlock = "\"\"\"";
constexpr const char* kPrompt = ">>> ";
constexpr const char* kMore = "... ";

// What a terminal or a pipe sends as text: valid UTF-8, without a carriage return at the end.
std::string clean(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  Utf8Assembler assembler;
  std::string out = assembler.push(line);
  return out + assembler.finish();
}

bool blank(const std::string& text) { return text.find_first_not_of(" \t\n") == std::string::npos; }

}  // namespace

bool MessageAssembler::push(const std::string& line) {
  std::string_view rest = line;
  if (!open_ && rest.starts_with(kBlock)) {
    open_ = block_ = true;
    rest.remove_prefix(kBlock.size());
    if (rest.empty()) return false;  // the text begins on the next line
  }
  if (block_) {
    const bool closes = rest.ends_with(kBlock);
    if (closes) rest.remove_suffix(kBlock.size());
    text_ += rest;
    if (!closes) text_ += '\n';
    open_ = !closes;
    return closes;
  }
  const bool continues = rest.ends_with('\\');
  if (continues) rest.remove_suffix(1);
  text_ += rest;
  if (continues) text_ += '\n';
  open_ = continues;
  return !continues;
}

std::string MessageAssembler::take() {
  open_ = block_ = false;
  return std::exchange(text_, {});
}

ChatInput::ChatInput(std::string history) {
  if (LineEditor::can_edit(STDIN_FILENO, STDOUT_FILENO)) {
    editor_ = std::make_unique<LineEditor>(STDIN_FILENO, STDOUT_FILENO, std::move(history));
  }
  if (!is_terminal(STDIN_FILENO)) return;
  if (is_terminal(STDERR_FILENO)) prompted_ = stderr;  // answers go to a file or a pipe
  if (is_terminal(STDOUT_FILENO)) prompted_ = stdout;
}

LineEditor::Event ChatInput::line(bool first, std::string& out) {
  const char* prompt = first ? kPrompt : kMore;
  if (editor_) {
    const LineEditor::Event event = editor_->read(prompt, out);
    out = clean(std::move(out));
    if (event == LineEditor::Event::kLine) editor_->remember(out);
    return event;
  }
  if (prompted_ != nullptr) {
    std::fputs(prompt, prompted_);
    std::fflush(prompted_);
  }
  for (;;) {
    if (const size_t end = unread_.find('\n', searched_); end != std::string::npos) {
      out = clean(unread_.substr(0, end));
      unread_.erase(0, end + 1);
      searched_ = 0;
      return LineEditor::Event::kLine;
    }
    searched_ = unread_.size();
    char block[4096];
    const ssize_t n = read(STDIN_FILENO, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      searched_ = 0;
      out = clean(std::exchange(unread_, {}));
      return out.empty() ? LineEditor::Event::kEnd : LineEditor::Event::kLine;
    }
    unread_.append(block, static_cast<size_t>(n));
  }
}

ChatInput::Item ChatInput::next() {
  MessageAssembler message;
  for (;;) {
    std::string text;
    const LineEditor::Event event = line(!message.open(), text);
    if (event == LineEditor::Event::kInterrupt) return {Kind::kInterrupt, message.take() + text};
    // A message that the end of the input cuts off was meant all the same.
    const bool ended = event == LineEditor::Event::kEnd;
    if (ended && !message.open()) return {Kind::kEnd, {}};
    if (!ended && !message.open() && text.starts_with('/') && !text.starts_with("//")) {
      return {Kind::kCommand, text.substr(1)};
    }
    if (!ended && !message.open() && text.starts_with("//")) text.erase(0, 1);
    const bool complete = ended || message.push(text);
    if (!complete) continue;
    std::string whole = message.take();
    if (!blank(whole)) return {Kind::kMessage, std::move(whole)};
    if (ended) return {Kind::kEnd, {}};
  }
}

}  // namespace heed::cli
