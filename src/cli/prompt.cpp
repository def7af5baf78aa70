#include "cli/prompt.h"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/read_file.h"
#include "base/text.h"
#include "base/utf8.h"
#include "cli/terminal.h"
#include "model/tokenizer.h"

namespace heed::cli {
namespace {

// A pipe or a redirected file holds a document; a terminal or /dev/null does not.
bool stdin_holds_document() {
  struct stat info;
  if (fstat(STDIN_FILENO, &info) != 0) return false;
  return S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode);
}

Result<std::string> read_stdin(bool quiet) {
  // A pipe that somebody holds open and never writes looks like a slow document. Waiting is right,
  // waiting in silence is not, not even when quiet.
  pollfd ready{STDIN_FILENO, POLLIN, 0};
  if (poll(&ready, 1, quiet ? 10'000 : 1'000) == 0) {
    note("waiting for a document on stdin (</dev/null for none)");
  }
  return read_all(STDIN_FILENO, "stdin");
}

std::string with_newlines(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n') out += text[i];
  }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::vector<ChatMessage> conversation(const std::string& user, const std::string& system) {
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", user});
  return messages;
}

}  // namespace

std::string clean_text(const std::string& text, const std::string& name, bool quiet) {
  std::string_view rest = text;
  if (rest.substr(0, 3) == "\xEF\xBB\xBF") rest.remove_prefix(3);
  Utf8Assembler assembler;
  std::string out = assembler.push(rest);
  out += assembler.finish();
  if (out != rest && !quiet) {
    note(cat(name, ": bytes that are not UTF-8 were replaced by U+FFFD"));
  }
  return with_newlines(out);
}

std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[i + 1];
    const std::string_view from = "nrt'\"\\", to = "\n\r\t'\"\\";
    if (const size_t at = from.find(c); at != std::string_view::npos) {
      out += to[at];
      ++i;
    } else if (c == 'x' && i + 3 < text.size() && hex_digit(text[i + 2]) >= 0 &&
               hex_digit(text[i + 3]) >= 0) {
      out += static_cast<char>(16 * hex_digit(text[i + 2]) + hex_digit(text[i + 3]));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::string> read_prompt(const PromptSource& source, bool quiet) {
  std::string document;
  bool has_document = true;
  if (source.file == "-") {
    HEED_ASSIGN(const std::string text, read_stdin(quiet));
    document = clean_text(text, "stdin", quiet);
  } else if (!source.file.empty()) {
    HEED_ASSIGN(const std::string text, read_file(source.file, "-f " + source.file));
    document = clean_text(text, "-f " + source.file, quiet);
  } else if (stdin_holds_document()) {
    HEED_ASSIGN(const std::string text, read_stdin(quiet));
    document = clean_text(text, "stdin", quiet);
  } else {
    has_document = false;
  }
  const std::string question =
      clean_text(source.escapes ? unescape(source.text) : source.text, "-p", quiet);
  if (!has_document || document.empty()) {
    if (!question.empty()) return question;
    return Status(Code::kInvalidArgument, "no prompt; give one with -p TEXT, -f FILE or on stdin");
  }
  if (!source.has_text) return document;
  while (!document.empty() && document.back() == '\n') document.pop_back();
  return document + "\n\n" + question;
}

Result<PromptTokens> tokenize_prompt(const Model& model, const std::string& user,
                                     const std::string& system, bool raw, bool quiet) {
  PromptTokens out;
  std::string text = user;
  out.templated = !raw && model.info().has_chat_template;
  if (out.templated) {
    HEED_ASSIGN(text, model.apply_template(conversation(user, system), true));
  } else if (!system.empty()) {
    return Status(Code::kInvalidArgument,
                  "--system has no place: the model has no chat template (a base model)");
  } else if (!raw && !quiet) {
    note("the model has no chat template (a base model): the prompt goes in as raw text");
  }
  // Special tokens are parsed as llama.cpp does, and the template needs it.
  HEED_ASSIGN(out.tokens, model.tokenize(text, true, true));
  return out;
}

Result<int64_t> count_prompt_tokens(const std::string& path, const std::string& user,
                                    const std::string& system, bool raw) {
  HEED_ASSIGN(const LlamaModelPtr vocabulary, load_vocabulary(path));
  std::string text = user;
  if (!raw) {
    // A base model has no template, and its text counts as it is.
    Result<std::string> chat = apply_template(vocabulary.get(), conversation(user, system), true);
    if (chat.is_ok()) text = std::move(*chat);
  }
  HEED_ASSIGN(const std::vector<Token> tokens, tokenize(vocabulary.get(), text, true, true));
  return static_cast<int64_t>(tokens.size());
}

}  // namespace heed::cli
