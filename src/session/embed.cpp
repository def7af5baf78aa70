#include "heed/embed.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/guard.h"
#include "base/text.h"
#include "model/weights.h"
#include "session/engine_impl.h"

namespace heed {
namespace {

// The sequences of one call, gone when it ends.
class Sequences {
 public:
  explicit Sequences(Engine& engine) : engine_(engine) {}
  ~Sequences() {
    while (!ids_.empty()) drop_first();
  }
  Sequences(const Sequences&) = delete;
  Sequences& operator=(const Sequences&) = delete;

  Status open() {
    ids_.reserve(ids_.size() + 1);
    HEED_ASSIGN(const SeqId id, engine_.create_sequence());
    ids_.push_back(id);
    return Status::ok();
  }
  SeqId last() const { return ids_.back(); }
  // Sequences are done in the order in which they were opened.
  void drop_first() {
    static_cast<void>(engine_.drop(ids_.front()));
    ids_.erase(ids_.begin());
  }

 private:
  Engine& engine_;
  std::vector<SeqId> ids_;
};

class Embedder {
 public:
  Embedder(Engine& engine, std::span<const std::vector<Token>> texts, const EmbedOptions& options)
      : engine_(engine.impl()),
        texts_(texts),
        options_(options),
        pooling_(options.pooling.value_or(engine.model().info().pooling)),
        embd_(static_cast<size_t>(engine_.hyper().embd)),
        sequences_(engine),
        row_(embd_),
        sums_(embd_) {}

  Result<std::vector<Embedding>> run() {
    HEED_TRY(check());
    done_.resize(texts_.size());
    while (next_ < texts_.size()) {
      HEED_TRY(fill_step());
      HEED_TRY(run_step());
    }
    return std::move(done_);
  }

 private:
  // Tokens of one text in a step.
  struct Piece {
    size_t text = 0;
    size_t first = 0, count = 0;
  };

  const Hyperparameters& hyper() const { return engine_.hyper(); }

  Status check() {
    if (pooling_ == Pooling::kRank) {
      return Status(Code::kUnsupported,
                    "pooling 'rank' is a classifier of pairs of texts, which heed does not "
                    "compute; ask for none, mean, cls or last, or run this model with llama.cpp");
    }
    for (size_t i = 0; i < texts_.size(); ++i) {
      const auto n = static_cast<int64_t>(texts_[i].size());
      if (n == 0) return error(Code::kInvalidArgument, "text ", i, " has no tokens");
      if (n > engine_.options.context) {
        return error(Code::kOutOfRange, "text ", i, " has ", n, " tokens, the context is ",
                     engine_.options.context, "; shorten it by ", n - engine_.options.context);
      }
      const Status tokens = engine_.check_tokens(texts_[i]);
      if (!tokens.is_ok()) return tokens.with_context(cat("text ", i));
      total_ += n;
    }
    return Status::ok();
  }

  // The next texts, as many as fit whole. Only a decoder's text may be longer than a step: it is
  // cut from its own beginning, so that where does not depend on the others.
  Status fill_step() {
    pieces_.clear();
    spans_.clear();
    rows_ = 0;
    const auto chunk = static_cast<size_t>(engine_.options.chunk);
    while (next_ < texts_.size() && rows_ < chunk &&
           spans_.size() < static_cast<size_t>(engine_.options.max_sequences)) {
      const std::span<const Token> text = texts_[next_];
      const size_t left = text.size() - offset_, count = std::min(left, chunk - rows_);
      if (count < left && rows_ > 0) break;
      if (offset_ == 0) HEED_TRY(sequences_.open());
      pieces_.push_back({next_, offset_, count});
      spans_.push_back({sequences_.last(), text.subspan(offset_, count)});
      rows_ += count;
      offset_ += count;
      if (offset_ < text.size()) break;
      ++next_;
      offset_ = 0;
    }
    return Status::ok();
  }

  Status run_step() {
    const Clock::time_point start = Clock::now();
    StepGraph* graph = nullptr;
    const GraphShape shape{.rows = static_cast<int>(rows_), .output = StepOutput::kHidden};
    HEED_TRY(engine_.run_step(spans_, shape, options_.cancel, &graph));
    const auto* x = static_cast<const float*>(graph->result()->data);  // [T, embd]
    for (const Piece& piece : pieces_) {
      take(piece, x);
      x += piece.count * embd_;
    }
    tokens_ += static_cast<int64_t>(rows_);
    engine_.prompt_tokens += static_cast<int64_t>(rows_);
    engine_.prefill_s += seconds_since(start);
    if (options_.progress) options_.progress(tokens_, total_);
    return Status::ok();
  }

  void take(const Piece& piece, const float* x) {
    const size_t n = texts_[piece.text].size();
    Embedding& out = done_[piece.text];
    if (piece.first == 0) {
      out.rows = pooling_ == Pooling::kNone ? static_cast<int64_t>(n) : 1;
      out.values.resize(static_cast<size_t>(out.rows) * embd_);
      std::fill(sums_.begin(), sums_.end(), 0.0);
    }
    for (size_t t = piece.first; t < piece.first + piece.count; ++t, x += embd_) {
      switch (pooling_) {
        case Pooling::kNone: put(x, out.values.data() + t * embd_); break;
        case Pooling::kMean: add(x); break;
        case Pooling::kCls:
          if (t == 0) put(x, out.values.data());
          break;
        case Pooling::kLast:
          if (t == n - 1) put(x, out.values.data());
          break;
        case Pooling::kRank: break;  // refused
      }
    }
    if (piece.first + piece.count < n) return;
    sequences_.drop_first();
    if (pooling_ != Pooling::kMean) return;
    for (size_t i = 0; i < embd_; ++i) {
      out.values[i] = static_cast<float>(sums_[i] / static_cast<double>(n));
    }
  }

  void add(const float* x) {
    put(x, row_.data());
    for (size_t i = 0; i < embd_; ++i) sums_[i] += row_[i];
  }

  // A decoder's rows are normed as its head reads them.
  void put(const float* x, float* out) const {
    if (hyper().arch->encoder) {
      std::copy_n(x, embd_, out);
      return;
    }
    const auto* norm = static_cast<const float*>(engine_.model->impl().weights->output_norm->data);
    double squares = 0;
    for (size_t i = 0; i < embd_; ++i) squares += static_cast<double>(x[i]) * x[i];
    const double scale =
        1 / std::sqrt(squares / static_cast<double>(embd_) + static_cast<double>(hyper().norm_eps));
    for (size_t i = 0; i < embd_; ++i) out[i] = static_cast<float>(x[i] * scale * norm[i]);
  }

  Engine::Impl& engine_;
  std::span<const std::vector<Token>> texts_;
  const EmbedOptions& options_;
  const Pooling pooling_;
  const size_t embd_;
  Sequences sequences_;
  std::vector<float> row_;    // [embd]
  std::vector<double> sums_;  // [embd] of the text that a step has begun
  std::vector<Embedding> done_;
  size_t next_ = 0, offset_ = 0;  // the next text, and its tokens that steps had already
  std::vector<Piece> pieces_;     // of the step
  std::vector<SeqSpan> spans_;
  size_t rows_ = 0;
  int64_t tokens_ = 0, total_ = 0;
};

constexpr Pooling kPoolings[] = {Pooling::kNone, Pooling::kMean, Pooling::kCls, Pooling::kLast,
                                 Pooling::kRank};

double norm_of(std::span<const float> values, int norm) {
  double largest = 0;
  for (const float v : values) largest = std::max(largest, std::fabs(static_cast<double>(v)));
  if (norm == 0) return largest / 32760;  // as 16-bit integers
  if (largest == 0) return 0;
  double sum = 0;  // of shares of the largest: powers of the values might leave the range
  for (const float v : values) sum += std::pow(std::fabs(v) / largest, norm);
  return largest * std::pow(sum, 1.0 / norm);
}

}  // namespace

const char* pooling_name(Pooling pooling) {
  switch (pooling) {
    case Pooling::kNone: return "none";
    case Pooling::kMean: return "mean";
    case Pooling::kCls: return "cls";
    case Pooling::kLast: return "last";
    case Pooling::kRank: return "rank";
  }
  return "?";
}

Result<Pooling> parse_pooling(std::string_view name) {
  for (const Pooling pooling : kPoolings) {
    if (name == pooling_name(pooling)) return pooling;
  }
  return error(Code::kInvalidArgument, "pooling is '", name.substr(0, 64),
               "', must be none, mean, cls, last or rank");
}

Result<std::vector<Embedding>> embed(Engine& engine, std::span<const std::vector<Token>> texts,
                                     const EmbedOptions& options) {
  return guarded("embedding", [&] { return Embedder(engine, texts, options).run(); });
}

Status check_decoder(const ModelInfo& model) {
  if (!model.encoder) return Status::ok();
  return error(Code::kUnsupported, model.path, ": architecture ", model.architecture,
               " is an encoder, which gives vectors and no next token: heed embed -m ", model.path,
               ", or embed() of heed/embed.h");
}

Status normalize_embedding(std::span<float> values, int norm) {
  if (norm < -1) {
    return error(Code::kOutOfRange, "the norm is ", norm,
                 ", must be -1 (none), 0 (largest magnitude), or p of the p-norm");
  }
  if (norm == -1) return Status::ok();
  const double size = norm_of(values, norm);
  const double scale = size > 0 ? 1 / size : 0;
  for (float& v : values) v = static_cast<float>(v * scale);
  return Status::ok();
}

double cosine_similarity(std::span<const float> a, std::span<const float> b) {
  double both = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    both += static_cast<double>(a[i]) * b[i];
    of_a += static_cast<double>(a[i]) * a[i];
    of_b += static_cast<double>(b[i]) * b[i];
  }
  if (of_a == 0 || of_b == 0) return of_a == of_b ? 1 : 0;
  return both / (std::sqrt(of_a) * std::sqrt(of_b));
}

}  // namespace heed
