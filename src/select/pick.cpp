#include "select/pick.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "select/slab.h"

namespace heed::select {
namespace {

// Three digits of a key of 32 bits, from the top.
constexpr int kDigits = 3;
constexpr int kShift[kDigits] = {21, 10, 0};
constexpr uint32_t kDigitMask[kDigits] = {0x7FF, 0x7FF, 0x3FF};
constexpr int kBuckets = 0x800;

constexpr uint32_t kNever = 0;  // the key of what is no candidate

// Ascends with the score; -0 is 0.
uint32_t key_of(float x) {
  if (!(x > -std::numeric_limits<float>::infinity())) return kNever;
  const uint32_t u = std::bit_cast<uint32_t>(x + 0.0f);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

float score_of(uint32_t key) {
  return std::bit_cast<float>(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

// What a candidate adds to a sum.
float mass_of(float x) { return x > 0 && x < std::numeric_limits<float>::infinity() ? x : 0.0f; }

struct Scratch {
  uint32_t* keys;    // [n], what is left of them after a digit in front
  int32_t* count;    // [kBuckets]
  double* sum;       // [kBuckets]
  uint64_t* forced;  // [n / 64] bits

  Scratch(Slab& slab, int64_t n)
      : keys(slab.take<uint32_t>(n)),
        count(slab.take<int32_t>(kBuckets)),
        sum(slab.take<double>(kBuckets)),
        forced(slab.take<uint64_t>((n + 63) / 64)) {}
};

bool is_forced(const Scratch& s, size_t i) { return (s.forced[i / 64] >> (i % 64)) & 1; }

void mark_forced(const Scratch& s, size_t n, std::span<const int32_t> forced) {
  std::fill_n(s.forced, (n + 63) / 64, 0);
  for (int32_t i : forced) s.forced[i / 64] |= uint64_t{1} << (i % 64);
}

// Keys of the candidates that take part in the order; returns how many.
int64_t fill_keys(std::span<const float> scores, const Scratch& s, bool without_forced) {
  int64_t n = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    s.keys[n] = key_of(scores[i]);
    n += s.keys[n] != kNever && !(without_forced && is_forced(s, i));
  }
  return n;
}

// Histogram of one digit of s.keys[0, n).
void count_digit(const Scratch& s, int64_t n, int digit) {
  std::fill_n(s.count, kBuckets, 0);
  for (int64_t i = 0; i < n; ++i) ++s.count[(s.keys[i] >> kShift[digit]) & kDigitMask[digit]];
}

int64_t keep_bucket(const Scratch& s, int64_t n, int digit, uint32_t bucket) {
  int64_t left = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t key = s.keys[i];
    s.keys[left] = key;
    left += ((key >> kShift[digit]) & kDigitMask[digit]) == bucket;
  }
  return left;
}

// The k-th largest key, and how many of its equals are among the k.
struct Cut {
  uint32_t key = kNever;
  int64_t equals = 0;
};

Cut cut_at(const Scratch& s, int64_t n, int64_t k) {
  if (k <= 0) return {std::numeric_limits<uint32_t>::max(), 0};
  if (k >= n) return {kNever, 0};
  uint32_t key = 0;
  for (int digit = 0; digit < kDigits; ++digit) {
    count_digit(s, n, digit);
    uint32_t bucket = kDigitMask[digit];
    while (k > s.count[bucket]) k -= s.count[bucket--];
    key |= bucket << kShift[digit];
    n = keep_bucket(s, n, digit, bucket);
  }
  return {key, k};
}

// Everything above the cut, its first equals, and what is forced. Forced ones do not count among
// the equals when they had no part in the order.
int32_t emit(std::span<const float> scores, const Scratch& s, Cut cut, bool without_forced,
             int32_t* out) {
  int32_t n = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const uint32_t key = key_of(scores[i]);
    const bool forced = is_forced(s, i);
    bool keep = key > cut.key;
    if (key == cut.key && key != kNever && cut.equals > 0 && !(without_forced && forced)) {
      --cut.equals;
      keep = true;
    }
    out[n] = static_cast<int32_t>(i);
    n += keep || forced;
  }
  return n;
}

// --- mass ------------------------------------------------------------------------------------

// How far the rule goes when the first `n` sum to c: whether one more may follow.
bool within(Cross cross, double c, float budget) {
  const float rounded = static_cast<float>(c);
  return cross == Cross::kBefore ? rounded < budget : rounded <= budget;
}

// Of s.keys[0, n), in order from `sum`: the number of candidates m such that all prefixes up to
// and with the m-th are within the budget. Prefixes grow, so buckets are walked from the top.
int64_t prefixes_within(const Scratch& s, int64_t n, Cross cross, double sum, float budget) {
  int64_t before = 0;
  for (int digit = 0; digit < kDigits; ++digit) {
    std::fill_n(s.count, kBuckets, 0);
    std::fill_n(s.sum, kBuckets, 0.0);
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t bucket = (s.keys[i] >> kShift[digit]) & kDigitMask[digit];
      ++s.count[bucket];
      s.sum[bucket] += mass_of(score_of(s.keys[i]));
    }
    int bucket = static_cast<int>(kDigitMask[digit]);
    while (bucket >= 0 && (s.count[bucket] == 0 || within(cross, sum + s.sum[bucket], budget))) {
      before += s.count[bucket];
      sum += s.sum[bucket--];
    }
    if (bucket < 0) return before;  // all of them
    n = keep_bucket(s, n, digit, static_cast<uint32_t>(bucket));
  }
  // What is left are equals.
  const double each = mass_of(score_of(s.keys[0]));
  for (int64_t i = 0; i < n && within(cross, sum + each, budget); ++i) {
    sum += each;
    ++before;
  }
  return before;
}

float budget_of(std::span<const float> scores, const TopP& rule) {
  if (rule.base == Base::kAbsolute) return rule.p;
  if (rule.base == Base::kFlat) return rule.p * static_cast<float>(rule.rows);
  double total = 0;
  for (float x : scores) total += mass_of(x);
  return rule.p * static_cast<float>(total);
}

}  // namespace

size_t pick_bytes(int64_t n) {
  Slab slab;
  Scratch(slab, n);
  return slab.bytes();
}

int32_t top_k(std::span<const float> scores, int64_t k, std::span<const int32_t> forced,
              void* scratch, int32_t* out) {
  Slab slab(scratch);
  const Scratch s(slab, static_cast<int64_t>(scores.size()));
  mark_forced(s, scores.size(), forced);
  const int64_t n = fill_keys(scores, s, true);
  return emit(scores, s, cut_at(s, n, k - static_cast<int64_t>(forced.size())), true, out);
}

int32_t top_p(std::span<const float> scores, const TopP& rule, std::span<const int32_t> forced,
              void* scratch, int32_t* out) {
  Slab slab(scratch);
  const Scratch s(slab, static_cast<int64_t>(scores.size()));
  mark_forced(s, scores.size(), forced);
  double sum = 0;
  if (rule.forced_first) {
    for (int32_t i : forced) sum += mass_of(scores[i]);
  }
  int64_t n = fill_keys(scores, s, rule.forced_first);
  int64_t keep = n;
  if (!(rule.p > 1.0f)) {
    const float budget = budget_of(scores, rule);
    keep = within(rule.cross, sum, budget) ? prefixes_within(s, n, rule.cross, sum, budget) : -1;
    keep += rule.cross != Cross::kExclude;
    keep = std::max<int64_t>(keep, 0);
    n = fill_keys(scores, s, rule.forced_first);
  }
  keep = std::max<int64_t>(
      keep, rule.min_keep - (rule.forced_first ? static_cast<int64_t>(forced.size()) : 0));
  return emit(scores, s, cut_at(s, n, keep), rule.forced_first, out);
}

int32_t threshold(std::span<const float> scores, float theta, std::span<const int32_t> forced,
                  int32_t* out) {
  int32_t n = 0;
  size_t next = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const bool is_next = next < forced.size() && static_cast<size_t>(forced[next]) == i;
    next += is_next;
    out[n] = static_cast<int32_t>(i);
    n += is_next || (scores[i] >= theta && key_of(scores[i]) != kNever);
  }
  return n;
}

}  // namespace heed::select
