#include "kv/side_arrays.h"

#include <algorithm>

namespace heed::kv {
namespace {

template <class T>
uint64_t held(const std::vector<T>& v) {
  return v.capacity() * sizeof(T);
}

}  // namespace

uint64_t SideArrays::bytes() const {
  return held(position) + held(live) + held(bias) + held(mass) + held(token_class);
}

void SideArrays::reserve(size_t pages) {
  const size_t slots = pages * kPageTokens;
  if (has(SideArray::kPosition)) position.reserve(slots);
  if (has(SideArray::kLive)) live.reserve(pages);
  if (has(SideArray::kBias)) bias.reserve(slots);
  if (has(SideArray::kColumnMass)) mass.reserve(slots);
  if (has(SideArray::kTokenClass)) token_class.reserve(slots);
}

void SideArrays::resize(size_t pages) {
  const size_t slots = pages * kPageTokens;
  if (has(SideArray::kPosition)) position.resize(slots, 0);
  if (has(SideArray::kLive)) live.resize(pages, ~uint64_t{0});
  if (has(SideArray::kBias)) bias.resize(slots, 0.0f);
  if (has(SideArray::kColumnMass)) mass.resize(slots, 0.0f);
  if (has(SideArray::kTokenClass)) token_class.resize(slots, 0);
}

void SideArrays::clear(size_t first, size_t end) {
  for (size_t i = first; i < end; ++i) {
    if (i < position.size()) position[i] = 0;
    if (i / kPageTokens < live.size()) live[i / kPageTokens] |= uint64_t{1} << (i % kPageTokens);
    if (i < bias.size()) bias[i] = 0.0f;
    if (i < mass.size()) mass[i] = 0.0f;
    if (i < token_class.size()) token_class[i] = 0;
  }
}

void SideArrays::adopt(SideArrays&& from, SideArray kind) {
  switch (kind) {
    case SideArray::kPosition: position = std::move(from.position); break;
    case SideArray::kLive: live = std::move(from.live); break;
    case SideArray::kBias: bias = std::move(from.bias); break;
    case SideArray::kColumnMass: mass = std::move(from.mass); break;
    case SideArray::kTokenClass: token_class = std::move(from.token_class); break;
  }
  present |= static_cast<uint8_t>(1u << static_cast<int>(kind));
}

void* SideArrays::data(SideArray kind) {
  switch (kind) {
    case SideArray::kPosition: return position.data();
    case SideArray::kLive: return live.data();
    case SideArray::kBias: return bias.data();
    case SideArray::kColumnMass: return mass.data();
    case SideArray::kTokenClass: return token_class.data();
  }
  return nullptr;
}

}  // namespace heed::kv
