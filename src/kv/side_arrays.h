// The side arrays of one list: what is mutable or belongs to one sequence, by slot.
//
// Every array that exists covers whole pages of the list; slots behind the list's length hold the
// neutral value (readable, no bias, no mass, class 0, position 0), so growing needs no second pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "heed/kv.h"

namespace heed::kv {

struct SideArrays {
  std::vector<int32_t> position;     // [slots]
  std::vector<uint64_t> live;        // [pages]
  std::vector<float> bias;           // [slots]
  std::vector<float> mass;           // [slots]
  std::vector<uint8_t> token_class;  // [slots]
  uint8_t present = 0;               // bit of each SideArray that exists, also while it has no slot

  bool has(SideArray kind) const { return present >> static_cast<int>(kind) & 1; }
  uint64_t bytes() const;  // of the memory held (capacity)
  // Room for `pages` pages in the arrays that exist. May throw std::bad_alloc.
  void reserve(size_t pages);
  // To `pages` pages; new slots are neutral. Does not allocate within the reservation.
  void resize(size_t pages);
  // Makes slots [first, end) neutral; live bits too.
  void clear(size_t first, size_t end);
  // Takes the array `kind` of `from`.
  void adopt(SideArrays&& from, SideArray kind);
  void* data(SideArray kind);
};

}  // namespace heed::kv
