// The keys that several mechanisms always read: the first of the text, and the last before a query.
#pragma once

#include <cstdint>

#include "base/text.h"
#include "heed/status.h"
#include "mechanisms/static_selector.h"

namespace heed {

inline constexpr int64_t kMostKeys = int64_t{1} << 31;

// A number of keys of `mechanism` is 0 to 2^31.
inline Status check_keys(const char* mechanism, const char* name, int64_t keys) {
  if (keys >= 0 && keys <= kMostKeys) return {};
  return error(Code::kOutOfRange, mechanism, ": ", name, " is ", keys, " keys, must be 0 to ",
               kMostKeys);
}

// What add_sink_window() takes.
inline constexpr select::SetBound kSinkWindow = {.ranges = 1, .columns = 0, .bands = true};

// Positions below n_init and each row's last n_local.
inline bool add_sink_window(const SelectInput& in, int kv_head, int64_t n_init, int64_t n_local,
                            select::KeySetWriter& keys) {
  return add_positions(in, kv_head, kFirstPosition, n_init, keys) && keys.set_band(n_local);
}

}  // namespace heed
