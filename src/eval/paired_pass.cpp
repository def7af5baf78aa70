#include "eval/paired_pass.h"

#include <algorithm>
#include <cmath>

#include "base/guard.h"
#include "base/text.h"
#include "cpu/team.h"

namespace heed::eval {
namespace {

std::span<const float> row_of(const View<const float, 2>& logits, int64_t r) {
  return {&logits(r, 0), static_cast<size_t>(logits.shape[1])};
}

// One chunk: logits[s] of every source, all [rows, vocab].
Status compare_chunk(std::span<const View<const float, 2>> logits, std::span<Pair> pairs,
                     int64_t first, cpu::Team& team) {
  const int64_t rows = logits[0].shape[0];
  for (const auto& view : logits) {
    if (view.shape == logits[0].shape) continue;
    return error(Code::kInternal, "one engine returned logits [", view.shape[0], ", ",
                 view.shape[1], "], another [", rows, ", ", logits[0].shape[1], "]");
  }
  std::vector<RowComparison> result(static_cast<size_t>(rows) * pairs.size());
  team.run([&](int member, int members) {
    std::vector<RowSoftmax> softmax(logits.size());
    for (int64_t r = member; r < rows; r += members) {
      for (size_t s = 0; s < logits.size(); ++s) softmax[s] = row_softmax(row_of(logits[s], r));
      for (size_t p = 0; p < pairs.size(); ++p) {
        const size_t a = pairs[p].a, b = pairs[p].b;
        result[static_cast<size_t>(r) * pairs.size() + p] =
            compare_rows(row_of(logits[a], r), softmax[a], row_of(logits[b], r), softmax[b]);
      }
    }
  });
  for (int64_t r = 0; r < rows; ++r) {
    for (size_t p = 0; p < pairs.size(); ++p) {
      const auto& row = result[static_cast<size_t>(r) * pairs.size() + p];
      if (std::isnan(row.kl)) {
        return error(Code::kInternal, "the logits of position ", first + r, " are not numbers");
      }
      pairs[p].stats.add(row);
    }
  }
  return Status::ok();
}

Status run_windows(std::span<const std::unique_ptr<LogitSource>> sources, std::span<Pair> pairs,
                   std::span<const std::vector<Token>> windows, const PassOptions& options) {
  cpu::Team team(options.threads);
  int64_t total = 0, done = 0;
  for (const auto& window : windows) total += static_cast<int64_t>(window.size());
  std::vector<View<const float, 2>> logits(sources.size());
  for (const auto& window : windows) {
    for (const auto& source : sources) HEED_TRY(source->start());
    const std::span<const Token> tokens = window;
    for (size_t at = 0; at < tokens.size(); at += static_cast<size_t>(options.chunk)) {
      const auto part =
          tokens.subspan(at, std::min(static_cast<size_t>(options.chunk), tokens.size() - at));
      for (size_t s = 0; s < sources.size(); ++s) {
        if (options.cancel != nullptr && options.cancel->cancelled()) {
          return error(Code::kCancelled, "cancelled after ", done, " of ", total, " positions");
        }
        HEED_ASSIGN(logits[s], sources[s]->feed(part));
      }
      HEED_TRY(compare_chunk(logits, pairs, done, team));
      done += static_cast<int64_t>(part.size());
      if (options.progress) options.progress(done, total);
    }
  }
  return Status::ok();
}

}  // namespace

Status run_pairs(std::span<const std::unique_ptr<LogitSource>> sources, std::span<Pair> pairs,
                 std::span<const std::vector<Token>> windows, const PassOptions& options) {
  return guarded("comparing logits", [&] { return run_windows(sources, pairs, windows, options); });
}

std::vector<std::vector<Token>> cut_windows(std::span<const Token> text,
                                            std::span<const Token> prefix, int64_t n,
                                            int64_t max_windows) {
  std::vector<std::vector<Token>> windows;
  const int64_t fresh = n - static_cast<int64_t>(prefix.size());  // text tokens a window
  if (fresh < 1) return windows;
  for (size_t at = 0; at + static_cast<size_t>(fresh) <= text.size();
       at += static_cast<size_t>(fresh)) {
    if (max_windows > 0 && static_cast<int64_t>(windows.size()) == max_windows) break;
    std::vector<Token> window(prefix.begin(), prefix.end());
    window.insert(window.end(), text.begin() + static_cast<int64_t>(at),
                  text.begin() + static_cast<int64_t>(at) + fresh);
    windows.push_back(std::move(window));
  }
  return windows;
}

Result<std::vector<std::vector<Token>>> text_windows(const Model& model, const std::string& text,
                                                     int64_t n, int64_t max_windows) {
  HEED_ASSIGN(const auto plain, model.tokenize(text, false, false));
  HEED_ASSIGN(const auto special, model.tokenize(text, true, false));
  // What add_special puts in front of the same text. A closing token would end the text inside a
  // window, so it is left out.
  std::vector<Token> prefix;
  if (!special.empty() && (plain.empty() || special[0] != plain[0])) prefix.push_back(special[0]);
  auto windows = cut_windows(plain, prefix, n, max_windows);
  if (windows.empty()) {
    return error(Code::kOutOfRange, "the text has ", plain.size() + prefix.size(),
                 " tokens and a window takes ", n, ": give a longer text or a smaller -c");
  }
  return windows;
}

}  // namespace heed::eval
