#include "session/rotary_table.h"

#include <algorithm>
#include <cmath>

#include "attention/rotation.h"
#include "model/architecture.h"
#include "session/rope_options.h"

namespace heed {
namespace {

// LongRoPE's switch as llama.cpp has it: by the context that sequences may reach, not by the length
// that they have. Keys in the store were turned by one list of factors and cannot change to the
// other.
std::span<const float> factors_of(RopeFactors kind, const Hyperparameters& hyper,
                                  const ModelWeights& weights, int64_t context) {
  switch (kind) {
    case RopeFactors::kNone: return {};
    case RopeFactors::kOne: return weights.rope_factors;
    case RopeFactors::kByContext:
      return context > hyper.original_context ? weights.rope_factors_long
                                              : weights.rope_factors_short;
  }
  return {};
}

}  // namespace

double QueryTemperature::at(int64_t position) const {
  return 1 + scale * std::log1p(static_cast<double>(position / context));
}

RotaryTable::RotaryTable(std::vector<double> frequencies, float length,
                         QueryTemperature temperature)
    : frequency_(std::move(frequencies)), length_(length), temperature_(temperature) {}

void RotaryTable::reserve(int64_t rows) {
  const size_t n = static_cast<size_t>(rows) * frequency_.size();
  if (cos_.size() < n) cos_.resize(n);
  if (sin_.size() < n) sin_.resize(n);
  if (temperature_.scale == 0) return;
  if (query_cos_.size() < n) query_cos_.resize(n);
  if (query_sin_.size() < n) query_sin_.resize(n);
}

void RotaryTable::fill(std::span<const int64_t> positions, int64_t row) {
  const size_t pairs = frequency_.size();
  const size_t first = static_cast<size_t>(row) * pairs;
  rotary_table(frequency_, positions, cos_.data() + first, sin_.data() + first);
  const size_t end = first + positions.size() * pairs;
  if (length_ != 1) {
    for (size_t i = first; i < end; ++i) {
      cos_[i] *= length_;
      sin_[i] *= length_;
    }
  }
  if (temperature_.scale == 0) return;
  for (size_t i = first; i < end; ++i) {
    const auto grown = static_cast<float>(temperature_.at(positions[(i - first) / pairs]));
    query_cos_[i] = cos_[i] * grown;
    query_sin_[i] = sin_[i] * grown;
  }
}

Result<std::vector<RotaryTable>> rotary_tables(const Hyperparameters& hyper,
                                               const ModelWeights& weights,
                                               const RopeOptions& options, int64_t context) {
  HEED_TRY(check_rope_options(options));
  const int64_t stretched =
      options.original_context > 0 ? options.original_context : hyper.original_context;
  std::vector<RotaryTable> tables;
  for (const Rope& rope : changed_ropes(options, hyper)) {
    RotarySpec spec;
    spec.layout = rope.turns && hyper.n_rot > 0 ? hyper.arch->rotary : RotaryLayout::kNone;
    spec.n_rot = hyper.n_rot;
    spec.base = rope.base;
    spec.scale = rope.scale;
    spec.factors = factors_of(rope.factors, hyper, weights, context);
    spec.yarn_context = rope.yarn ? stretched : 0;
    spec.yarn_fast = rope.yarn_fast;
    spec.yarn_slow = rope.yarn_slow;
    HEED_ASSIGN(std::vector<double> frequencies, rotary_frequencies(spec));
    double length = rope.length;
    if (rope.yarn) {
      length *= yarn_length(1 / rope.scale) / yarn_length(1 / rope.scale, rope.yarn_taken);
    }
    tables.emplace_back(std::move(frequencies), static_cast<float>(length),
                        QueryTemperature{hyper.query_temperature, hyper.original_context});
    if (hyper.latent == 0) continue;
    const double grown = length * yarn_length(rope.yarn ? 1 / rope.scale : 1, rope.yarn_scores);
    tables.back().place(hyper.latent, static_cast<float>(grown * grown));
  }
  return tables;
}

uint64_t rotary_bytes(const Hyperparameters& hyper, int64_t rows) {
  // cos and sin, a number each for every pair; queries may have tables of their own.
  const uint64_t tables = hyper.ropes.size() * (hyper.query_temperature == 0 ? 1 : 2);
  return sizeof(float) * tables * static_cast<uint64_t>(rows) * static_cast<uint64_t>(hyper.n_rot);
}

}  // namespace heed
