// Counter-based random numbers: element i of stream s is a pure function of (s, i), so tests and
// tie-breaks do not depend on evaluation order or threads. (SplitMix64 finaliser, Steele et al.
// 2014.)
#pragma once

#include <cmath>
#include <cstdint>

namespace heed {

inline uint64_t random_bits(uint64_t stream, uint64_t index) {
  uint64_t z = stream * 0xD1B54A32D192ED03ull + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

// Uniform in [0, 1), 53 bits.
inline double random_uniform(uint64_t stream, uint64_t index) {
  return static_cast<double>(random_bits(stream, index) >> 11) * 0x1p-53;
}

// Uniform integer in [0, n), n > 0; bias below 2^-32 for n < 2^32.
inline uint64_t random_below(uint64_t stream, uint64_t index, uint64_t n) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(random_bits(stream, index)) * n) >>
                               64);
}

// Standard normal by Box-Muller on a pair of independent streams.
inline double random_normal(uint64_t stream, uint64_t index) {
  const double u = 1.0 - random_uniform(stream, 2 * index);  // (0, 1]: the log is finite
  const double v = random_uniform(stream, 2 * index + 1);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

// A sequential draw for code where order is fixed.
class Random {
 public:
  explicit Random(uint64_t stream) : stream_(stream) {}
  uint64_t bits() { return random_bits(stream_, next_++); }
  double uniform() { return random_uniform(stream_, next_++); }
  uint64_t below(uint64_t n) { return random_below(stream_, next_++, n); }
  double normal() { return random_normal(stream_, next_++); }

 private:
  uint64_t stream_;
  uint64_t next_ = 0;
};

}  // namespace heed
