// heed chat MODEL: a conversation through the model's template.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/new_file.h"
#include "base/read_file.h"
#include "base/text.h"
#include "cli/cell_width.h"
#include "cli/chat_commands.h"
#include "cli/chat_history.h"
#include "cli/chat_input.h"
#include "cli/chat_status.h"
#include "cli/conversation.h"
#include "cli/interrupt.h"
#include "cli/model_source.h"
#include "cli/parse.h"
#include "cli/run_memory.h"
#include "cli/run_model.h"
#include "cli/run_session.h"
#include "heed/adapters.h"
#include "model/catalogue.h"

namespace heed::cli {
namespace {

void say(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

// Of this computer's user; without a home the lines of earlier chats are not kept.
std::string history_file() {
  const Result<std::string> home = heed_home();
  return home.is_ok() ? *home + "/chat_history" : std::string();
}

// What was computed of a conversation lies beside its messages.
std::string computed_file(const std::string& path) { return path + ".kv"; }

// As a shell reads it.
std::string with_home(const std::string& path) {
  const char* const home = std::getenv("HOME");
  return path.starts_with("~/") && home != nullptr ? home + path.substr(1) : path;
}

// What /save may write over: nothing, or a conversation.
Status check_place(const std::string& path) {
  if (access(path.c_str(), F_OK) != 0) return Status::ok();
  std::string head(256, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  if (head.empty() || head.find("\"heed_chat\"") != std::string::npos) return Status::ok();
  return error(Code::kInvalidArgument, "/save: ", path,
               " is there already and is no conversation; give another name");
}

// The beginning of a message, for a note of one line.
std::string brief(const std::string& message) {
  constexpr int kCells = 60;
  const std::string_view line = std::string_view(message).substr(0, message.find('\n'));
  size_t end = 0;
  for (int cells = 0; end < line.size();) {
    const size_t next = next_character(line, end);
    cells += display_width(line.substr(end, next - end));
    if (cells > kCells) break;
    end = next;
  }
  return cat(line.substr(0, end), end < message.size() ? " ..." : "");
}

Status write_text(const std::string& path, const std::string& text) {
  HEED_ASSIGN(const auto file, NewFile::create(path, text.size()));
  HEED_TRY(file->write(0, text.data(), text.size()));
  return file->commit();
}

class ChatVerb final : public Verb {
 public:
  const char* name() const override { return "chat"; }
  const char* summary() const override { return "Talk with a model; /help lists the commands"; }
  const char* examples() const override {
    return "  heed chat smollm2:135m\n"
           "  heed chat smollm2:135m --system \"Answer in one sentence.\" --session notes.json\n"
           "  heed chat qwen3-8b.gguf -md qwen3-0.6b.gguf -c 16384\n"
           "  printf 'Name a colour.\\nAnd another.\\n' | heed chat smollm2:135m -q\n";
  }
  void options(CLI::App& app) override { o_.bind_chat(app); }
  int run() override;

 private:
  Status prepare();
  void keep_history() const;
  int talk();
  // False: the conversation ends here.
  bool obey(const std::string& line);
  Status perform(const ParsedCommand& command);
  // One exchange. Without an answer, by an error or false where it was stopped before it began, the
  // messages are what they were.
  Result<bool> exchange(const std::string& message);
  Status answer(const std::string& message);
  Status regenerate();
  Status undo();
  Status clear();
  Status set_system(const std::string& text);
  Status save(const std::string& path);
  Status load(const std::string& path);
  // The sequence lets go of what the messages no longer say.
  Status forget() { return conversation_->keep(history_.messages()); }
  void print_status() const;

  RunOptions o_;
  RunModel model_of_;
  std::shared_ptr<Model> model_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Drafter> drafter_;  // computes with the engine's threads
  std::unique_ptr<Conversation> conversation_;
  ChatHistory history_;
  std::optional<Generation> last_;
  uint32_t again_ = 0;  // times that the last message was answered again
  bool ends_ = false;
};

Status ChatVerb::prepare() {
  HEED_TRY(check_session_place(o_));
  HEED_ASSIGN(model_of_, find_run_model(o_));
  if (!model_of_.info.has_chat_template) {
    return error(Code::kUnsupported, model_of_.path,
                 ": has no chat template (a base model), so there are no turns to take; heed run "
                 "continues a text with it");
  }
  HEED_TRY(plan_chat(model_of_.path, o_));
  HEED_ASSIGN(const ModelOptions load, load_options(o_));
  HEED_ASSIGN(model_, open_model(model_of_.path, load, o_.progress_mode()));
  HEED_ASSIGN(engine_, Engine::create(model_, o_.engine));
  HEED_ASSIGN(drafter_, o_.draft.open(*engine_, load, o_.progress_mode()));
  HEED_ASSIGN(const SeqId seq, engine_->create_sequence());
  HEED_ASSIGN(auto adaptation, o_.adapters.load(*model_));
  HEED_TRY(set_adaptation(*engine_, seq, std::move(adaptation)));
  conversation_ = std::make_unique<Conversation>(*engine_, seq);
  history_.system = o_.system;
  return Status::ok();
}

Result<bool> ChatVerb::exchange(const std::string& message) {
  history_.turns.push_back({"user", message});
  ProgressLine line(o_.progress_mode());
  bool said = false;
  GenerateOptions options;
  options.max_tokens = o_.predict;
  options.sampler = o_.sampler;
  if (o_.sampling.seed >= 0) {
    options.sampler.seed += again_;
    // The number that means a seed from the clock.
    if (options.sampler.seed == SamplerOptions{}.seed) options.sampler.seed = 0;
  }
  options.ignore_eos = o_.sampler.ignore_eos;
  options.draft = o_.draft.limits(drafter_.get());
  options.cancel = &interrupt_token();
  options.on_prefill = show_prefill(line);
  options.on_token = [&](Token, std::string_view text) {
    line.clear();
    said = true;
    // On a terminal the model's text may not move the cursor.
    say(is_terminal(STDOUT_FILENO) ? printable(text) : std::string(text));
  };
  Result<Generation> made = conversation_->answer(history_.messages(), options);
  line.clear();
  const bool answered =
      made.is_ok() && (made->stop != StopReason::kCancelled || !made->tokens.empty());
  if (answered || said) say("\n");
  if (!answered) {
    history_.turns.pop_back();
    HEED_TRY(made.status());
    return false;
  }
  last_ = std::move(*made);
  history_.turns.push_back({"assistant", last_->text});
  if (o_.quiet) return true;
  if (!last_->draft.stopped.empty()) note(cat("drafting ended: ", last_->draft.stopped));
  if (last_->stop == StopReason::kContext) {
    note(cat("the context of ", engine_->options().context,
             " tokens is full, so the answer ends here; /undo takes it back, /clear begins anew"));
  }
  return true;
}

Status ChatVerb::answer(const std::string& message) {
  if (!history_.turns.empty() && !history_.answered()) {
    return Status(Code::kInvalidArgument,
                  "the last message has no answer yet; /regen answers it, /undo takes it back");
  }
  again_ = 0;
  const Result<bool> answered = exchange(message);
  constexpr const char* kTakenBack = "; the message is taken back";
  if (!answered.is_ok()) return error(answered.code(), answered.message(), kTakenBack);
  if (!*answered) note(cat("stopped before the answer began", kTakenBack));
  return Status::ok();
}

Status ChatVerb::regenerate() {
  auto before = history_.turns;
  const bool had_answer = history_.answered();
  const auto asked = history_.take_last();
  if (!asked) return Status(Code::kInvalidArgument, "/regen: there is no message yet");
  ++again_;  // with a given seed too the answer is another one
  const Result<bool> answered = exchange(*asked);
  if (answered.is_ok() && *answered) return Status::ok();
  history_.turns = std::move(before);
  const char* const stands =
      had_answer ? "; the earlier answer stands" : "; the message has no answer yet";
  if (!answered.is_ok()) return error(answered.code(), answered.message(), stands);
  note(cat("stopped before the answer began", stands));
  return Status::ok();
}

Status ChatVerb::undo() {
  const auto asked = history_.take_last();
  if (!asked) return Status(Code::kInvalidArgument, "/undo: there is no message to take back");
  if (!o_.quiet) note(cat("taken back: ", brief(*asked)));
  return forget();
}

Status ChatVerb::clear() {
  if (!o_.quiet) note(fmt::format("{} messages forgotten", history_.turns.size()));
  history_.turns.clear();
  return forget();
}

Status ChatVerb::set_system(const std::string& text) {
  if (text.empty()) {
    say(history_.system.empty() ? "no system message\n" : printable(history_.system) + "\n");
    return Status::ok();
  }
  history_.system = text == "-" ? std::string() : text;
  if (!o_.quiet) {
    note(cat(
        history_.system.empty() ? "no system message from now on" : "system message set",
        history_.turns.empty() ? "" : "; the conversation is read again with the next message"));
  }
  return forget();
}

Status ChatVerb::save(const std::string& path) {
  HEED_TRY(write_text(path, history_.to_json(model_of_.info.name)));
  if (conversation_->tokens() > 0) HEED_TRY(conversation_->save(computed_file(path)));
  if (!o_.quiet) note(fmt::format("{}: {} messages saved", path, history_.turns.size()));
  return Status::ok();
}

Status ChatVerb::load(const std::string& path) {
  HEED_ASSIGN(const std::string text, read_file(path, path));
  HEED_ASSIGN(history_, ChatHistory::from_json(text, path));
  again_ = 0;
  last_.reset();
  std::string how = "will be read again with the next message";
  if (!history_.turns.empty()) {
    // A file of another model or another configuration costs time, not the conversation.
    const Result<bool> taken =
        conversation_->take_up(computed_file(path), history_.messages(), &interrupt_token());
    if (taken.is_ok() && *taken) how = fmt::format("{} tokens ready", conversation_->tokens());
    if (taken.code() == Code::kCancelled && interrupt_exit_code() != 0) return taken.status();
    if (!taken.is_ok()) note(taken.message());
  }
  HEED_TRY(forget());
  if (o_.quiet) return Status::ok();
  note(fmt::format("{}: {} messages, {}", path, history_.turns.size(), how));
  if (!history_.turns.empty() && !history_.answered()) {
    note("the last message has no answer yet; /regen answers it");
  }
  return Status::ok();
}

void ChatVerb::print_status() const {
  say(chat_status({.engine = *engine_,
                   .conversation = *conversation_,
                   .messages = history_.turns.size(),
                   .last = last_ ? &*last_ : nullptr}));
}

Status ChatVerb::perform(const ParsedCommand& command) {
  switch (command.command) {
    case ChatCommand::kHelp: say(chat_help()); break;
    case ChatCommand::kStatus: print_status(); break;
    case ChatCommand::kSave: {
      const std::string path = with_home(command.argument);
      HEED_TRY(check_place(path));
      return save(path);
    }
    case ChatCommand::kLoad: return load(with_home(command.argument));
    case ChatCommand::kSystem: return set_system(command.argument);
    case ChatCommand::kRegen: return regenerate();
    case ChatCommand::kUndo: return undo();
    case ChatCommand::kClear: return clear();
    case ChatCommand::kExit: ends_ = true; break;
  }
  return Status::ok();
}

bool ChatVerb::obey(const std::string& line) {
  const Result<ParsedCommand> command = parse_chat_command(line);
  const Status status = command.is_ok() ? perform(*command) : command.status();
  if (!status.is_ok()) fail(status);
  return !ends_;
}

// Until the end of the input; 0, or the exit code of a signal that ends the program.
int ChatVerb::talk() {
  ChatInput input(history_file());
  if (input.edits() && !o_.quiet) {
    say(fmt::format("{}, a context of {} tokens; /help lists the commands, Ctrl-D ends\n",
                    model_title(model_of_.info), engine_->options().context));
  }
  // While a line is edited Ctrl-C is a key; else one at the prompt ends the program.
  survive_interrupts(input.edits());
  bool asked_to_end = false;
  for (;;) {
    const ChatInput::Item item = input.next();
    if (item.kind == ChatInput::Kind::kEnd) return kDone;
    if (item.kind == ChatInput::Kind::kInterrupt) {
      const bool took_text_back = !item.text.empty();
      if (asked_to_end && !took_text_back) return kDone;
      asked_to_end = !took_text_back;
      if (took_text_back) continue;
      note("Ctrl-C again, Ctrl-D or /exit ends");
      continue;
    }
    asked_to_end = false;
    survive_interrupts(true);
    if (item.kind == ChatInput::Kind::kMessage) {
      if (const Status status = answer(item.text); !status.is_ok()) fail(status);
    } else if (!obey(item.text)) {
      return kDone;
    }
    keep_history();
    survive_interrupts(input.edits());
    if (interrupt_exit_code() != 0) return interrupt_exit_code();
    interrupt_token().reset();  // what stopped this answer stops no other
  }
}

// After each turn, because a signal at the prompt ends the program before the end of this verb.
// What was computed is saved there only: without it the conversation is read again.
void ChatVerb::keep_history() const {
  if (o_.session.empty()) return;
  const Status status = write_text(o_.session, history_.to_json(model_of_.info.name));
  if (!status.is_ok()) note(status.message());
}

int ChatVerb::run() {
  const size_t positional = o_.model.empty() ? 1 : 0;
  if (o_.positional.size() > positional) {
    return usage_error(name(), cat("unexpected argument '", o_.positional[positional],
                                   "': messages are typed at the prompt"));
  }
  if (const Status s = o_.settle(); !s.is_ok()) return usage_error(name(), s.message());
  watch_interrupts();
  Status status = prepare();
  const bool keeps = !o_.session.empty();
  if (status.is_ok() && keeps && access(o_.session.c_str(), F_OK) == 0) status = load(o_.session);
  if (!o_.system.empty()) history_.system = o_.system;  // a flag goes before what was kept
  if (status.code() == Code::kCancelled) {
    acknowledge_interrupt();
    note("interrupted");
    return interrupt_exit_code();
  }
  if (!status.is_ok()) return fail(status);
  const int code = talk();
  if (code != 0) acknowledge_interrupt();
  if (keeps) status = save(o_.session);
  return status.is_ok() ? code : fail(status);
}

}  // namespace

std::unique_ptr<Verb> make_chat() { return std::make_unique<ChatVerb>(); }

}  // namespace heed::cli
