// A borrowed array with a shape and strides: the one way plain arrays cross heed's API.
#pragma once

#include <array>
#include <cstdint>

namespace heed {

// T* with R dimensions. Strides count elements, not bytes; the last dimension of a view that a
// kernel reads as rows must have stride 1 (each function says so).
template <class T, int R>
struct View {
  T* data = nullptr;
  std::array<int64_t, R> shape{};
  std::array<int64_t, R> stride{};

  // A dense row-major view.
  static View contiguous(T* data, std::array<int64_t, R> shape) {
    View v{data, shape, {}};
    int64_t s = 1;
    for (int i = R - 1; i >= 0; --i) {
      v.stride[i] = s;
      s *= shape[i];
    }
    return v;
  }

  template <class... I>
  T& operator()(I... index) const {
    static_assert(sizeof...(I) == R);
    const int64_t at[] = {static_cast<int64_t>(index)...};
    int64_t offset = 0;
    for (int i = 0; i < R; ++i) offset += at[i] * stride[i];
    return data[offset];
  }
};

}  // namespace heed
