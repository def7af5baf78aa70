// heed chat MODEL: a conversation through the model's template.
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/new_file.h"
#include "base/read_file.h"
#include "base/text.h"
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
  // One exchange; the error says why there is no answer, and the message is taken back.
  Status answer(const std::string& message);
  Status regenerate();
  Status undo();
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

Status ChatVerb::answer(const std::string& message) {
  history_.turns.push_back({"user", message});
  ProgressLine line(o_.progress_mode());
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
  options.on_token = [&line](Token, std::string_view text) {
    line.clear();
    // On a terminal the model's text may not move the cursor.
    say(is_terminal(STDOUT_FILENO) ? printable(text) : std::string(text));
  };
  Result<Generation> made = conversation_->answer(history_.messages(), options);
  line.clear();
  const bool cancelled = made.is_ok() && made->stop == StopReason::kCancelled;
  if (!made.is_ok() || (cancelled && made->tokens.empty())) {
    history_.turns.pop_back();
    if (cancelled) note("stopped before the answer began; the message is taken back");
    return made.status();
  }
  say("\n");
  last_ = std::move(*made);
  history_.turns.push_back({"assistant", last_->text});
  if (o_.quiet) return Status::ok();
  if (!last_->draft.stopped.empty()) note(cat("drafting ended: ", last_->draft.stopped));
  if (last_->stop == StopReason::kContext) {
    note(cat("the context of ", engine_->options().context,
             " tokens is full, so the answer ends here; /undo takes it back, /clear begins anew"));
  }
  return Status::ok();
}

Status ChatVerb::regenerate() {
  auto before = history_.turns;
  const std::string asked = history_.take_last();
  if (asked.empty()) return Status(Code::kInvalidArgument, "/regen: there is no message yet");
  ++again_;  // with a given seed too the answer is another one
  const Status status = answer(asked);
  if (history_.turns.size() < before.size()) {
    history_.turns = std::move(before);
    note("the earlier answer stands");
  }
  return status;
}

Status ChatVerb::undo() {
  const std::string asked = history_.take_last();
  if (asked.empty())
    return Status(Code::kInvalidArgument, "/undo: there is no message to take back");
  if (!o_.quiet) note(cat("taken back: ", asked.substr(0, asked.find('\n'))));
  return forget();
}

Status ChatVerb::set_system(const std::string& text) {
  if (text.empty()) {
    say(history_.system.empty() ? "no system message\n" : printable(history_.system) + "\n");
    return Status::ok();
  }
  history_.system = text == "-" ? std::string() : text;
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
  if (!o_.quiet) note(fmt::format("{}: {} messages, {}", path, history_.turns.size(), how));
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
    case ChatCommand::kSave: return save(command.argument);
    case ChatCommand::kLoad: return load(command.argument);
    case ChatCommand::kSystem: return set_system(command.argument);
    case ChatCommand::kRegen: return regenerate();
    case ChatCommand::kUndo: return undo();
    case ChatCommand::kClear: history_.turns.clear(); return forget();
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
      if (asked_to_end) return kDone;
      note("Ctrl-C again, Ctrl-D or /exit ends");
      asked_to_end = true;
      continue;
    }
    asked_to_end = false;
    survive_interrupts(true);
    interrupt_token().reset();  // what came while a line was edited stops no answer
    if (item.kind == ChatInput::Kind::kMessage) {
      again_ = 0;
      if (const Status status = answer(item.text); !status.is_ok()) fail(status);
    } else if (!obey(item.text)) {
      return kDone;
    }
    keep_history();
    if (interrupt_exit_code() != 0) return interrupt_exit_code();
    survive_interrupts(input.edits());
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
