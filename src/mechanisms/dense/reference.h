// dense, from the formula: position `key` is read by the query at position `query`.
#pragma once

#include <cstdint>

namespace heed::reference {

inline bool dense_visible(int64_t query, int64_t key) { return key <= query; }

}  // namespace heed::reference
