#include <algorithm>
#include <cstring>
#include <new>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "heed/embed.h"
#include "session/encoder_graph.h"
#include "session/engine_impl.h"

namespace heed {
namespace {

Status no_memory(const char* what) {
  return error(Code::kResourceExhausted, "no memory for ", what, "; use a smaller chunk");
}

}  // namespace

Status Engine::Impl::check_tokens(std::span<const Token> tokens) const {
  const int vocab = hyper().vocab;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab) {
      return error(Code::kOutOfRange, "token ", i, " is ", tokens[i], ", must be 0 to ", vocab - 1);
    }
  }
  return Status::ok();
}

Status Engine::Impl::check_context(SeqId seq, int64_t n) const {
  const int64_t held = store->next_position(seq);
  if (n <= options.context - held || options.beyond_context) return Status::ok();
  const int64_t longest = longest_context(model->info(), options.rope);
  const std::string behind = held > 0 ? cat(" behind the ", held, " it holds") : std::string();
  return error(
      Code::kOutOfRange, "sequence ", seq, ": ", n, " tokens", behind, " pass the context of ",
      options.context, "; leave out ", n - (options.context - held), " tokens",
      options.context < longest ? cat(" or raise the context, at most to the model's ", longest)
                                : std::string(" or use a model with a longer context"));
}

Status Engine::Impl::check_sequence(SeqId seq) const {
  if (logits.contains(seq)) return Status::ok();
  return error(Code::kNotFound, "sequence ", seq, " does not exist");
}

Status Engine::Impl::check_settled(SeqId seq) const {
  HEED_TRY(check_sequence(seq));
  if (!filling(seq)) return Status::ok();
  return error(
      Code::kInvalidArgument, "sequence ", seq,
      " is being filled layer by layer; wait until its prefill has returned, or cancel it");
}

Result<Logits> Engine::Impl::logits_target(SeqId seq) const {
  const Logits& held = logits.at(seq);
  if (held && held.use_count() == 1) return held;
  try {
    return std::make_shared<std::vector<float>>(static_cast<size_t>(hyper().vocab));
  } catch (const std::bad_alloc&) {
    return no_memory("logits");
  }
}

Status Engine::Impl::prepare_step(std::span<const SeqSpan> seqs, StepGraph& graph) {
  try {
    HEED_TRY(step->prepare(seqs, graph.layers()));
  } catch (const std::bad_alloc&) {
    return no_memory("the plan of a step");
  }
  const auto embd = static_cast<size_t>(hyper().embd);
  size_t row = 0;
  for (const SeqSpan& seq : seqs) {
    if (graph.tokens() != nullptr) {
      auto* tokens = static_cast<int32_t*>(graph.tokens()->data);
      std::memcpy(tokens + row, seq.tokens.data(), seq.tokens.size_bytes());
    } else {
      auto* hidden = static_cast<float*>(graph.hidden_in()->data);
      std::memcpy(hidden + embd * row, seq.hidden, embd * seq.tokens.size() * sizeof(float));
    }
    row += seq.tokens.size();
  }
  if (graph.positions() != nullptr) fill_positions(seqs, *graph.positions());
  // Fewer outputs than rows: only a prompt's last row.
  if (graph.out_rows() != nullptr) {
    *static_cast<int32_t*>(graph.out_rows()->data) = graph.shape().rows - 1;
  }
  return Status::ok();
}

Status Engine::Impl::run_step(std::span<const SeqSpan> seqs, const GraphShape& shape,
                              const CancelToken* cancel, StepGraph** made) {
  HEED_ASSIGN(StepGraph * graph, graph_of(seqs, shape, cancel));
  size_t open = 0;
  const Status status = guarded("a step", [&]() -> Status {
    reserve_tokens(seqs);
    for (; open < seqs.size(); ++open) {
      HEED_TRY(store->begin_append(seqs[open].id, static_cast<int>(seqs[open].tokens.size())));
    }
    return compute(seqs, *graph, cancel);
  });
  close(seqs, open, status.is_ok());
  if (status.is_ok()) {
    note_tokens(seqs);
    ++steps;
  }
  *made = graph;
  return status;
}

Result<StepGraph*> Engine::Impl::graph_of(std::span<const SeqSpan> seqs, GraphShape shape,
                                          const CancelToken* cancel) {
  verified.clear();
  HEED_TRY(model->impl().file->unchanged());
  if (cancel != nullptr && cancel->cancelled()) {
    return Status(Code::kCancelled, "the step was cancelled");
  }
  shape.adapted = adaptations->enter(seqs);
  return graphs->step(shape);
}

Status Engine::Impl::compute(std::span<const SeqSpan> seqs, StepGraph& graph,
                             const CancelToken* cancel) {
  HEED_TRY(prepare_step(seqs, graph));
  step->cancel = cancel;
  HEED_TRY(graph.compute(step.get()));
  return model->impl().file->unchanged();  // what was read of it meanwhile is what was loaded
}

void Engine::Impl::close(std::span<const SeqSpan> seqs, size_t open, bool keep) noexcept {
  for (size_t i = 0; i < open; ++i) {
    if (keep) {
      store->commit(seqs[i].id);
    } else {
      store->abort(seqs[i].id);
    }
  }
}

Status Engine::Impl::adopt(SeqId seq, Logits held, std::vector<Token> held_tokens,
                           std::shared_ptr<const Adaptation> adaptation) {
  const Status status = guarded("a sequence", [&] {
    tokens.emplace(seq, std::move(held_tokens));
    adaptations->set(seq, std::move(adaptation));
    logits.emplace(seq, std::move(held));
    return Status::ok();
  });
  if (status.is_ok()) return status;
  tokens.erase(seq);
  adaptations->drop(seq);
  HEED_TRY(store->drop(seq));
  return status;
}

void Engine::Impl::reserve_tokens(std::span<const SeqSpan> seqs) {
  for (const SeqSpan& seq : seqs) {
    std::vector<Token>& held = tokens.at(seq.id);
    const size_t needed = held.size() + seq.tokens.size();
    // Half as much again: a sequence that grows by one token copies each a constant number of
    // times.
    if (needed > held.capacity()) held.reserve(std::max(needed, held.size() + held.size() / 2));
  }
}

void Engine::Impl::note_tokens(std::span<const SeqSpan> seqs) noexcept {
  for (const SeqSpan& seq : seqs) {
    std::vector<Token>& held = tokens.find(seq.id)->second;
    held.insert(held.end(), seq.tokens.begin(), seq.tokens.end());
  }
}

Status Engine::Impl::prefill(SeqId seq, std::span<const Token> tokens, const PrefillOptions& call) {
  HEED_TRY(check_decoder(model->info()));
  HEED_TRY(check_settled(seq));
  if (tokens.empty()) return Status(Code::kInvalidArgument, "a prompt needs at least one token");
  HEED_TRY(check_tokens(tokens));
  const auto total = static_cast<int64_t>(tokens.size());
  HEED_TRY(check_context(seq, total));
  HEED_ASSIGN(last_order, order_of(seq, total, static_cast<bool>(call.on_logits)));
  return last_order == PrefillOrder::kLayerMajor ? prefill_layers(seq, tokens, call)
                                                 : prefill_chunks(seq, tokens, call);
}

Status Engine::Impl::prefill_chunks(SeqId seq, std::span<const Token> tokens,
                                    const PrefillOptions& call) {
  const auto total = static_cast<int64_t>(tokens.size());
  const int64_t first = store->next_position(seq);
  for (int64_t done = 0; done < total;) {
    const int64_t n = std::min<int64_t>(options.chunk, total - done);
    const auto start = Clock::now();
    const Status status =
        prefill_chunk(seq, tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(n)),
                      {first, first + total}, call);
    prefill_s += seconds_since(start);
    HEED_TRY(status);
    done += n;
    prompt_tokens += n;
    if (call.progress) call.progress(done, total);
  }
  return Status::ok();
}

Status Engine::Impl::prefill_chunk(SeqId seq, std::span<const Token> tokens, PromptSpan prompt,
                                   const PrefillOptions& call) {
  const int64_t first_row = store->next_position(seq) - prompt.first;
  const bool last = prompt.first + first_row + static_cast<int64_t>(tokens.size()) == prompt.end;
  const GraphShape shape =
      chunk_shape(static_cast<int>(tokens.size()), last, static_cast<bool>(call.on_logits));
  Logits target;
  if (last || call.on_logits) {
    HEED_ASSIGN(target, logits_target(seq));
  }
  const SeqSpan span{.id = seq, .tokens = tokens, .prompt = prompt};
  StepGraph* graph = nullptr;
  HEED_TRY(run_step({&span, 1}, shape, call.cancel, &graph));
  logits.at(seq) = nullptr;  // those of an earlier token are not this one's
  if (call.on_logits) {
    HEED_TRY(emit_logits(*graph, *target, call, first_row));
  } else if (last) {
    std::memcpy(target->data(), graph->result()->data, target->size() * sizeof(float));
  }
  logits.at(seq) = std::move(target);
  return Status::ok();
}

Status Engine::Impl::emit_logits(StepGraph& graph, std::vector<float>& last,
                                 const PrefillOptions& call, int64_t first_row) {
  const int rows = graph.shape().rows;
  const AdaptedKey adapted = graph.shape().adapted;
  const auto embd = static_cast<size_t>(hyper().embd);
  const int64_t vocab = hyper().vocab;
  try {
    // A copy: the head's graph may take the memory of this one.
    const auto* data = static_cast<const float*>(graph.result()->data);  // [rows, embd]
    hidden.assign(data, data + embd * static_cast<size_t>(rows));
  } catch (const std::bad_alloc&) {
    return no_memory("the rows of a chunk");
  }
  for (int row = 0; row < rows; row += kLogitRows) {
    const int n = std::min(kLogitRows, rows - row);
    HEED_ASSIGN(StepGraph * head, graphs->head(n, adapted));
    std::memcpy(head->hidden_in()->data, hidden.data() + embd * static_cast<size_t>(row),
                embd * static_cast<size_t>(n) * sizeof(float));
    HEED_TRY(head->compute_head(call.cancel));
    HEED_TRY(model->impl().file->unchanged());
    const auto* out = static_cast<const float*>(head->result()->data);
    call.on_logits(first_row + row, View<const float, 2>::contiguous(out, {n, vocab}));
    if (row + n == rows) {
      std::memcpy(last.data(), out + vocab * (n - 1), last.size() * sizeof(float));
    }
  }
  return Status::ok();
}

Status Engine::Impl::decode(std::span<const SeqToken> tokens, const CancelToken* cancel) {
  HEED_TRY(check_decoder(model->info()));
  if (tokens.empty() || tokens.size() > static_cast<size_t>(options.max_sequences)) {
    return error(Code::kOutOfRange, "decode of ", tokens.size(), " sequences, must be 1 to ",
                 options.max_sequences, " (max_sequences)");
  }
  std::vector<SeqSpan> spans;
  for (const SeqToken& t : tokens) {
    HEED_TRY(check_settled(t.seq));
    HEED_TRY(check_tokens({&t.token, 1}));
    HEED_TRY(check_context(t.seq, 1));
    for (const SeqSpan& other : spans) {
      if (other.id == t.seq) {
        return error(Code::kInvalidArgument, "sequence ", t.seq, " appears twice in one decode");
      }
    }
    spans.push_back({t.seq, {&t.token, 1}});
  }
  return decode_rows(spans, cancel).status();
}

Result<View<const float, 2>> Engine::Impl::verify(std::span<const SeqSpan> seqs,
                                                  const CancelToken* cancel) {
  HEED_TRY(check_decoder(model->info()));
  size_t n = 0;
  for (const SeqSpan& seq : seqs) {
    HEED_TRY(check_settled(seq.id));
    n += seq.tokens.size();
  }
  const int most = most_verified(options);
  if (n < 1 || n > static_cast<size_t>(most)) {
    return error(Code::kOutOfRange, "verify of ", n, " tokens, must be 1 to ", most,
                 most < kLogitRows ? " (the chunk)" : "");
  }
  for (const SeqSpan& seq : seqs) {
    HEED_TRY(check_tokens(seq.tokens));
    HEED_TRY(check_context(seq.id, static_cast<int64_t>(seq.tokens.size())));
  }
  std::vector<Verified> left;
  for (const SeqSpan& seq : seqs) left.push_back({seq.id, store->length(seq.id), {}});
  HEED_ASSIGN(const auto rows, decode_rows(seqs, cancel));
  const int64_t vocab = rows.shape[1];
  int64_t first = 0;
  for (size_t i = 0; i < seqs.size(); ++i) {
    const auto count = static_cast<int64_t>(seqs[i].tokens.size());
    left[i].rows = View<const float, 2>::contiguous(&rows(first, 0), {count, vocab});
    first += count;
  }
  verified = std::move(left);
  return rows;
}

Result<View<const float, 2>> Engine::Impl::decode_rows(std::span<const SeqSpan> seqs,
                                                       const CancelToken* cancel) {
  int rows = 0;
  std::vector<Logits> targets;
  for (const SeqSpan& seq : seqs) {
    rows += static_cast<int>(seq.tokens.size());
    HEED_ASSIGN(Logits target, logits_target(seq.id));
    targets.push_back(std::move(target));
  }
  const auto start = Clock::now();
  const int64_t builds = graphs->builds();
  StepGraph* graph = nullptr;
  const Status status = run_step(
      seqs, {.rows = rows, .outputs = rows, .output = StepOutput::kLogits}, cancel, &graph);
  decode_builds += graphs->builds() - builds;
  HEED_TRY(status);
  const int64_t vocab = hyper().vocab;
  const auto* out = static_cast<const float*>(graph->result()->data);
  const float* last = out - vocab;
  for (size_t i = 0; i < seqs.size(); ++i) {
    last += vocab * static_cast<int64_t>(seqs[i].tokens.size());
    std::memcpy(targets[i]->data(), last, targets[i]->size() * sizeof(float));
    logits.at(seqs[i].id) = std::move(targets[i]);
  }
  generated_tokens += rows;
  decode_s += seconds_since(start);
  return View<const float, 2>::contiguous(out, {rows, vocab});
}

Status Engine::Impl::truncate(SeqId seq, int64_t n) {
  HEED_TRY(check_settled(seq));
  const int64_t length = store->length(seq);
  if (n < 0 || n > length) {
    return error(Code::kOutOfRange, "sequence ", seq, " has ", length, " tokens, it cannot keep ",
                 n);
  }
  if (n == length) return Status::ok();
  const auto at = std::find_if(verified.begin(), verified.end(),
                               [seq](const Verified& one) { return one.seq == seq; });
  const int64_t row = at != verified.end() ? n - 1 - at->first : -1;
  const bool known = row >= 0 && row < at->rows.shape[0];
  Logits kept;
  if (known) {
    HEED_ASSIGN(kept, logits_target(seq));
  }
  HEED_TRY(store->truncate(seq, n));
  if (known) std::memcpy(kept->data(), &at->rows(row, 0), kept->size() * sizeof(float));
  logits.at(seq) = std::move(kept);
  tokens.at(seq).resize(static_cast<size_t>(n));
  return Status::ok();
}

}  // namespace heed
