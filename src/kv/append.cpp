// Writing the rows of an open transaction. Runs on every thread of a team, inside a graph.
#include <algorithm>

#include "kv/store_impl.h"

namespace heed {
namespace {

// Rows [i, i + n) of the list's piece; k and v point to row i.
void pack_rows(kv::PagePool& pool, const kv::LayerInfo& layer, const kv::List& list, int i, int n,
               const float* k, int64_t k_stride, const float* v, int64_t v_stride) {
  while (n > 0) {
    const int64_t at = int64_t{list.len} + list.pending - list.piece + i;
    const int slot = static_cast<int>(at % kPageTokens);
    const int take = std::min(n, kPageTokens - slot);
    const PageId page = list.pages[at / kPageTokens];
    layer.k_ops->pack_k(pool.k_data(page), slot, take, k, k_stride, layer.shape.dk);
    if (!layer.shape.v_aliases_k) {
      layer.v_ops->pack_v(pool.v_data(page), slot, take, v, v_stride, layer.shape.dv);
      v += take * v_stride;
    }
    k += take * k_stride;
    i += take;
    n -= take;
  }
}

}  // namespace

void Store::append(SeqId seq, int layer, View<const float, 3> k, View<const float, 3> v, int member,
                   int members) {
  kv::Sequence* s = impl_->find(seq);
  if (!s || !s->open() || layer < 0 || layer >= static_cast<int>(impl_->layers.size())) return;
  const kv::LayerInfo& info = impl_->layers[layer];
  const LayerShape& shape = info.shape;
  const bool own_v = !shape.v_aliases_k;
  const int32_t piece = s->lists[info.first_list].piece;  // as of all lists of the layer
  if (k.shape != std::array<int64_t, 3>{piece, shape.kv_heads, shape.dk}) return;
  if (own_v && v.shape != std::array<int64_t, 3>{piece, shape.kv_heads, shape.dv}) return;
  // Units are (KV head, page): slots of one page may share a word, so one thread owns a page.
  int unit = 0;
  for (int g = 0; g < shape.kv_heads; ++g) {
    const kv::List& list = s->lists[info.first_list + g];
    const int64_t behind = int64_t{list.len} + list.pending - piece;
    for (int i = 0; i < piece;) {
      const int room = kPageTokens - static_cast<int>((behind + i) % kPageTokens);
      const int n = std::min(room, piece - i);
      if (unit++ % members == member) {
        pack_rows(impl_->pool, info, list, i, n, &k(i, g, 0), k.stride[0],
                  own_v ? &v(i, g, 0) : nullptr, v.stride[0]);
      }
      i += n;
    }
  }
}

void Store::append_rows(SeqId seq, int layer, int kv_head, int i, int n, const float* k,
                        int64_t k_stride, const float* v, int64_t v_stride) {
  kv::Sequence* s = impl_->find(seq);
  if (!s || !s->open() || layer < 0 || layer >= static_cast<int>(impl_->layers.size())) return;
  const kv::LayerInfo& info = impl_->layers[layer];
  if (kv_head < 0 || kv_head >= info.shape.kv_heads) return;
  const kv::List& list = s->lists[info.first_list + kv_head];
  if (i < 0 || n < 0 || n > list.piece - i) return;
  pack_rows(impl_->pool, info, list, i, n, k, k_stride, v, v_stride);
}

}  // namespace heed
