// Guesses from the text itself: what followed the last tokens where they stood before.
#include <algorithm>
#include <unordered_map>

#include "base/guard.h"
#include "base/text.h"
#include "heed/speculative.h"

namespace heed {
namespace {

// Earlier places of the last tokens that are compared, latest first.
constexpr int kMostPlaces = 256;
// Tokens before a place that are compared: more agreement than this tells nothing more.
constexpr int64_t kLongestMatch = 64;

class LookupDrafter final : public Drafter {
 public:
  explicit LookupDrafter(int ngram) : ngram_(ngram) {}

  std::string name() const override { return "lookup"; }

  Status propose(std::span<const Token> text, int most, const CancelToken* /*cancel*/,
                 std::vector<Token>& draft) override {
    return guarded("looking up a draft", [&] {
      take_up(text);
      for (int64_t at = best_place(); at >= 0 && static_cast<int>(draft.size()) < most; ++at) {
        // Behind the end a repetition goes on in what was guessed.
        const auto end = static_cast<int64_t>(text_.size());
        draft.push_back(at < end ? text_[at] : draft[static_cast<size_t>(at - end)]);
      }
      return Status::ok();
    });
  }

  Result<std::unique_ptr<Drafter>> another() override {
    return guarded("making a drafter", [&]() -> Result<std::unique_ptr<Drafter>> {
      return std::unique_ptr<Drafter>(new LookupDrafter(*this));
    });
  }

 private:
  // Places are ends of n-grams: the position behind them.
  void take_up(std::span<const Token> text) {
    const bool whole = earlier_.size() == text_.size() + 1;  // no shortage came between
    const bool longer = text.size() >= text_.size();
    if (!whole || !longer || !std::equal(text_.begin(), text_.end(), text.begin())) {
      text_.clear();
      latest_.clear();
      earlier_.clear();
      earlier_.push_back(-1);  // of the empty text
    }
    for (size_t i = text_.size(); i < text.size(); ++i) {
      text_.push_back(text[i]);
      const auto end = static_cast<int64_t>(text_.size());
      const auto found = latest_.try_emplace(hash(end), -1).first;
      earlier_.push_back(end < ngram_ ? -1 : found->second);
      if (end >= ngram_) found->second = end;
    }
  }

  // Of the n tokens before `end`, or of all there are.
  uint64_t hash(int64_t end) const {
    uint64_t h = 0xCBF29CE484222325u;  // FNV-1a over whole tokens
    for (int64_t i = std::max<int64_t>(end - ngram_, 0); i < end; ++i) {
      h = (h ^ static_cast<uint32_t>(text_[i])) * 0x100000001B3u;
    }
    return h;
  }

  int64_t agreement(int64_t place) const {
    const auto end = static_cast<int64_t>(text_.size());
    int64_t n = 0;
    while (n < std::min(place, kLongestMatch) && text_[place - 1 - n] == text_[end - 1 - n]) ++n;
    return n;
  }

  int64_t best_place() const {
    int64_t best = -1, longest = ngram_ - 1;
    int64_t place = earlier_.back();
    for (int i = 0; i < kMostPlaces && place >= 0; ++i, place = earlier_[place]) {
      const int64_t n = agreement(place);  // also tells a collision of the hash
      if (n > longest) {
        best = place;
        longest = n;
      }
    }
    return best;
  }

  int ngram_;
  std::vector<Token> text_;
  std::unordered_map<uint64_t, int64_t> latest_;  // place of an n-gram
  std::vector<int64_t> earlier_;                  // by place: the one before with the same n-gram
};

}  // namespace

Result<std::unique_ptr<Drafter>> make_lookup_drafter(const LookupOptions& options) {
  if (options.ngram < 1 || options.ngram > LookupOptions::kMaxNgram) {
    return error(Code::kOutOfRange, "a lookup compares ", options.ngram, " tokens, must be 1 to ",
                 LookupOptions::kMaxNgram);
  }
  return guarded("making a drafter", [&]() -> Result<std::unique_ptr<Drafter>> {
    return std::unique_ptr<Drafter>(new LookupDrafter(options.ngram));
  });
}

}  // namespace heed
