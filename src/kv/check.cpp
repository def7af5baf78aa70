// Every invariant of the store, recounted from nothing.
#include <algorithm>
#include <unordered_map>

#include "base/text.h"
#include "kv/store_impl.h"

namespace heed {
namespace {

using kv::List;
using kv::Sequence;

// The first slot behind the last row that does not read as zero, or 64.
int first_nonzero(const kv::LayerInfo& layer, const kv::PagePool& pool, PageId page, int slot) {
  float row[kMaxHeadSize];
  for (; slot < kPageTokens; ++slot) {
    layer.k_ops->unpack_k(pool.k_data(page), slot, 1, row, layer.shape.dk, layer.shape.dk);
    for (int d = 0; d < layer.shape.dk; ++d) {
      if (row[d] != 0) return slot;
    }
    if (layer.shape.v_aliases_k) continue;
    layer.v_ops->unpack_v(pool.v_data(page), slot, 1, row, layer.shape.dv, layer.shape.dv);
    for (int d = 0; d < layer.shape.dv; ++d) {
      if (row[d] != 0) return slot;
    }
  }
  return slot;
}

Status check_side(const List& list, int32_t len) {
  const size_t pages = list.pages.size(), slots = pages * kPageTokens;
  const kv::SideArrays& side = list.side;
  const struct {
    SideArray kind;
    size_t size, want;
  } arrays[] = {{SideArray::kPosition, side.position.size(), slots},
                {SideArray::kLive, side.live.size(), pages},
                {SideArray::kBias, side.bias.size(), slots},
                {SideArray::kColumnMass, side.mass.size(), slots},
                {SideArray::kTokenClass, side.token_class.size(), slots}};
  for (const auto& a : arrays) {
    if (a.size != (side.has(a.kind) ? a.want : 0)) {
      return error(Code::kInternal, "side array ", static_cast<int>(a.kind), " has ", a.size,
                   " elements, ", a.want, " belong to ", pages, " pages");
    }
  }
  for (size_t i = len; i < slots; ++i) {
    const bool neutral =
        (side.position.empty() || side.position[i] == 0) &&
        (side.live.empty() || (side.live[i / kPageTokens] >> (i % kPageTokens) & 1)) &&
        (side.bias.empty() || side.bias[i] == 0) && (side.mass.empty() || side.mass[i] == 0) &&
        (side.token_class.empty() || side.token_class[i] == 0);
    if (!neutral) return error(Code::kInternal, "slot ", i, " behind length ", len, " is in use");
  }
  for (int32_t i = 1; i < len && !side.position.empty(); ++i) {
    if (side.position[i] <= side.position[i - 1]) {
      return error(Code::kInternal, "positions do not ascend at slot ", i);
    }
  }
  return {};
}

Status check_view(const Sequence& s, const List& list, const ListView& view) {
  const int32_t len = list.len + list.pending;
  const bool same =
      view.pages == list.pages.data() && view.len == len && view.pos0 == s.first_position &&
      view.pos == (list.side.has(SideArray::kPosition) ? list.side.position.data() : nullptr) &&
      view.live == (list.side.has(SideArray::kLive) ? list.side.live.data() : nullptr) &&
      view.bias == (list.side.has(SideArray::kBias) ? list.side.bias.data() : nullptr);
  if (!same) return error(Code::kInternal, "the list view does not show the list");
  return {};
}

}  // namespace

Status Store::Impl::check_list(const Sequence& s, size_t i) const {
  const List& list = s.lists[i];
  const kv::LayerInfo& layer = layers[layer_of(i)];
  const int32_t len = list.len + list.pending;
  if (list.pages.size() != static_cast<size_t>(pages_for(len))) {
    return error(Code::kInternal, list.pages.size(), " pages hold ", len, " slots");
  }
  for (size_t p = 0; p < list.pages.size(); ++p) {
    const PageId page = list.pages[p];
    if (kv::page_class(page) != layer.size_class) {
      return error(Code::kInternal, "page ", p, " has class ", kv::page_class(page), ", not ",
                   layer.size_class);
    }
    const int64_t slots = int64_t{list.len} - static_cast<int64_t>(p) * kPageTokens;
    const uint32_t fill = static_cast<uint32_t>(std::clamp<int64_t>(slots, 0, kPageTokens));
    if (pool.fill(page) != fill) {
      return error(Code::kInternal, "page ", p, " counts ", pool.fill(page),
                   " committed slots, its list ", fill);
    }
    if (list.pending > 0 && slots < kPageTokens && pool.refs(page) != 1) {
      return error(Code::kInternal, "an open transaction writes page ", p, ", which has ",
                   pool.refs(page), " holders");
    }
  }
  if (len % kPageTokens != 0) {
    const int slot = first_nonzero(layer, pool, list.pages.back(), len % kPageTokens);
    if (slot < kPageTokens) {
      return error(Code::kInternal, "slot ", slot, " of the last page is not zero behind ", len);
    }
  }
  if (list.pending == 0 && list.replaced != kNoPage) {
    return error(Code::kInternal, "a list without a transaction remembers a replaced page");
  }
  const bool as_the_sequence = s.filling ? list.pending <= s.pending : list.pending == s.pending;
  if (!as_the_sequence || list.piece < 0 || list.piece > list.pending) {
    return error(Code::kInternal, "a piece of ", list.piece, " of ", list.pending,
                 " pending slots, of the sequence ", s.pending);
  }
  HEED_TRY(check_side(list, len));
  return check_view(s, list, s.views[i]);
}

Status Store::check() const {
  HEED_TRY(impl_->pool.check());
  std::unordered_map<PageId, uint32_t> refs;
  uint64_t committed = 0, with_live = 0;
  for (const auto& [id, s] : impl_->sequences) {
    committed += sizeof(Sequence);
    if (s->pending < 0 || (s->filling && !s->open())) {
      return error(Code::kInternal, "sequence ", id, ": ", s->pending, " pending tokens",
                   s->filling ? " of a filling" : "");
    }
    for (size_t i = 0; i < s->lists.size(); ++i) {
      const Status status = impl_->check_list(*s, i);
      if (!status.is_ok()) return status.with_context(cat("sequence ", id, ", list ", i));
      const List& list = s->lists[i];
      for (PageId page : list.pages) ++refs[page];
      if (list.replaced != kNoPage) ++refs[list.replaced];
      committed += list.overhead();
      with_live += list.side.has(SideArray::kLive);
    }
  }
  std::vector<uint64_t> used(impl_->pool.classes());
  for (const auto& [page, count] : refs) {
    if (impl_->pool.refs(page) != count) {
      return error(Code::kInternal, "page ", page, " counts ", impl_->pool.refs(page),
                   " holders, there are ", count);
    }
    ++used[kv::page_class(page)];
    committed += impl_->page_cost(kv::page_class(page));
  }
  for (int c = 0; c < impl_->pool.classes(); ++c) {
    if (impl_->pool.pages_in_use(c) != used[c]) {
      return error(Code::kInternal, "class ", c, " counts ", impl_->pool.pages_in_use(c),
                   " pages in use, lists hold ", used[c]);
    }
  }
  if (committed != impl_->committed || with_live != impl_->lists_with_live) {
    return error(Code::kInternal, "committed bytes ", impl_->committed, ", recounted ", committed,
                 "; lists with live masks ", impl_->lists_with_live, ", recounted ", with_live);
  }
  if (impl_->desc.max_bytes > 0 && committed > impl_->desc.max_bytes) {
    return error(Code::kInternal, "committed bytes ", committed, " pass the limit ",
                 impl_->desc.max_bytes);
  }
  return {};
}

}  // namespace heed
