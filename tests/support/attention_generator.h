// Random attention cases over the shape grid of requirement 10: primes, powers of two and their
// neighbours, every option in many combinations. Case i of a seed is always the same.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "attention_case.h"
#include "base/random.h"

namespace heed::test {

inline constexpr int kGrid[] = {1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000};

class CaseGenerator {
 public:
  // `work` bounds the multiplications of Q K^T of one case; of latent attention, which multiplies
  // so much a key, a list may pass a split all the same.
  CaseGenerator(std::vector<Isa> isas, int64_t work) : isas_(std::move(isas)), work_(work) {}

  static bool is_latent(const AttentionCase& c) { return c.heads == 16 && c.dk == 576; }

  AttentionCase make(uint64_t index) const {
    Random random(0xCA5E + index);
    AttentionCase c;
    c.seed = index + 1;
    c.isa = isas_[index % isas_.size()];
    choose_heads(c, random);
    choose_formats(c, random);
    choose_sequences(c, random);
    choose_scores(c, random);
    choose_plan(c, random);
    c.layout = static_cast<Layout>(random.below(3));
    c.threads = 1 + static_cast<int>(random.below(3));
    c.ragged = random.below(8) == 0;
    return c;
  }

 private:
  static constexpr int64_t kLatentWork = 2400;  // T x S: one row over two splits

  static void choose_heads(AttentionCase& c, Random& random) {
    static constexpr int kSizes[] = {32, 34, 40, 48, 62, 64, 66, 80, 96, 112, 128, 130, 192, 256};
    static constexpr struct {
      int heads, kv_heads;
    } kHeads[] = {{1, 1}, {2, 1}, {3, 1}, {4, 2}, {6, 2}, {8, 8}, {9, 3}, {7, 1}, {8, 2}, {14, 2}};
    const auto& heads = kHeads[random.below(std::size(kHeads))];
    c.heads = heads.heads;
    c.kv_heads = heads.kv_heads;
    c.dk = kSizes[random.below(std::size(kSizes))];
    c.dv = random.below(3) == 0 ? kSizes[random.below(std::size(kSizes))] : c.dk;
    if (random.below(8) == 0) {  // any even size of the whole range
      c.dk = 2 * (16 + static_cast<int>(random.below(273)));
      c.dv = 2 * (16 + static_cast<int>(random.below(273)));
    }
    if (random.below(24) == 0) {  // latent attention
      c.heads = 16;
      c.kv_heads = 1;
      c.dk = 576;
      c.dv = 512;
    }
    c.head_map = c.kv_heads > 1 && random.below(6) == 0;
  }

  static void choose_formats(AttentionCase& c, Random& random) {
    c.k = static_cast<Format>(random.below(kFormatCount));
    c.v = random.below(5) == 0 ? static_cast<Format>(random.below(kFormatCount)) : c.k;
    c.alias = c.dv <= c.dk && random.below(c.dk == 576 ? 2 : 12) == 0;
    if (c.alias) c.v = c.k;
  }

  void choose_sequences(AttentionCase& c, Random& random) const {
    const int n = random.below(3) == 0 ? 2 + static_cast<int>(random.below(3)) : 1;
    int64_t left = std::max<int64_t>(1, work_ / (int64_t{c.heads} * (c.dk + c.dv)));  // T x S
    if (is_latent(c)) left = std::max(left, kLatentWork);
    for (int i = 0; i < n; ++i) {
      SeqShape s;
      const bool decode = random.below(3) == 0;
      s.rows = decode ? 1 : kGrid[random.below(std::size(kGrid))];
      s.keys = kGrid[random.below(std::size(kGrid))];
      if (random.below(12) == 0) s.keys = 1025 + static_cast<int>(random.below(1200));  // > a split
      if (random.below(40) == 0) s.keys = 0;
      while (s.rows > 1 && int64_t{s.rows} * s.keys > left) s.rows = smaller(s.rows);
      while (s.keys > 1 && int64_t{s.rows} * s.keys > left) s.keys = smaller(s.keys);
      left = std::max<int64_t>(1, left - int64_t{s.rows} * s.keys);
      c.seqs.push_back(s);
    }
  }

  static int smaller(int n) {
    int best = n / 2;
    for (int g : kGrid) {
      if (g < n) best = g;
    }
    return best;
  }

  static void choose_scores(AttentionCase& c, Random& random) {
    c.mask = static_cast<MaskKind>(random.below(3));
    if (c.mask == MaskKind::kWindow) c.window = kGrid[random.below(std::size(kGrid))];
    if (random.below(4) == 0) c.scale = random.below(2) == 0 ? 0.25f : 1.0f / 64;
    if (random.below(5) == 0) c.softcap = random.below(2) == 0 ? 30.0f : 5.0f;
    c.alibi = random.below(6) == 0;
    c.sinks = random.below(6) == 0;
    c.bias = random.below(8) == 0;
    c.live = random.below(6) == 0;
    c.gaps = random.below(6) == 0;
    if (random.below(5) == 0) {
      c.rotary = random.below(2) == 0 ? RotaryLayout::kAdjacent : RotaryLayout::kHalves;
      c.n_rot = random.below(2) == 0 ? c.dk : c.dk / 4 * 2;
      if (c.heads % 2 == 0) c.rot_first = c.dk - c.n_rot;
    }
  }

  static void choose_plan(AttentionCase& c, Random& random) {
    if (random.below(2) == 0) return;  // dense
    c.plan = static_cast<PlanKind>(1 + random.below(3));
    c.tile_masks = random.below(2) == 0;
    if (random.below(3) == 0) {
      c.tags = 2 + static_cast<int>(random.below(2));
    }
    if (c.rotary != RotaryLayout::kNone && random.below(2) == 0) {
      c.deltas = 1 + static_cast<int>(random.below(3));
    }
  }

  std::vector<Isa> isas_;
  int64_t work_;
};

}  // namespace heed::test
