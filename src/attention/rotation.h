// Rotary position embedding: tables of angles and turning rows. heed turns keys before they are
// appended and queries while attend packs them, so the store and the plan decide about positions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "heed/attention.h"
#include "heed/cpu.h"
#include "heed/status.h"
#include "heed/view.h"
#include "kernels/kernels.h"

namespace heed {

struct RotarySpec {
  RotaryLayout layout = RotaryLayout::kNone;
  int n_rot = 0;          // dims that turn, even
  double base = 10000.0;  // angle of pair i = position * scale * base^(-2i / n_rot) / factor
  double scale = 1.0;     // linear position scale (1 / "rope scaling factor")
  std::span<const float> factors = {};  // [n_rot / 2] divides the frequency of each pair; empty: 1
  // YaRN (arXiv:2309.00071): pairs that turn yarn_fast times or more within this many positions
  // keep their frequency, those that turn yarn_slow times at most get all of `scale`, those between
  // a part of it. 0: all pairs are scaled.
  int64_t yarn_context = 0;
  double yarn_fast = 32, yarn_slow = 1;
};

// Frequencies in radians per position, fp64. Errors: odd or negative n_rot, base or scale that is
// not positive and finite, a wrong number of factors, a factor that is 0 or not finite; with YaRN a
// base not above 1, ends that are not fast > slow > 0.
Result<std::vector<double>> rotary_frequencies(const RotarySpec& spec);

// What YaRN multiplies turned pairs by when it stretches a context `factor` times, so that scores
// grow by the square; nothing where it shortens one. `share` of the growth, all in the paper.
double yarn_length(double factor, double share = 1);

// NTK-aware scaling: the base from which the slowest pair turns `factor` times slower and the
// fastest as before. n_rot > 2.
double ntk_base(double base, double factor, int n_rot);

// cos and sin [T, n_rot / 2] of the positions: angles in fp64, so position 1,000,000 is as exact as
// position 1 (an fp32 angle there would be off by 0.06 rad). `cos` and `sin` hold
// positions.size() * frequencies.size() floats.
void rotary_table(std::span<const double> frequencies, std::span<const int64_t> positions,
                  float* cos, float* sin);

// Turns one row [d] with the angles of its position; `out` may be `in`.
void rotate_row(const kernels::Table& table, const Rotary& rotary, const float* cos,
                const float* sin, const float* in, float* out, int d);

// Turns rows [T, heads, d] of `in` into `out` (last strides 1; out may be in). Row t uses row t of
// the tables. Layout kNone copies.
void rotate_rows(Isa isa, const Rotary& rotary, View<const float, 3> in, View<float, 3> out);

}  // namespace heed
