// A transaction that layers get one after the other, piece by piece: begin_filling and extend.
#include <array>

#include "base/guard.h"
#include "kv/store_impl.h"

namespace heed {

Status Store::begin_filling(SeqId seq, int64_t rows) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_closed(seq, "begin_filling"));
  if (rows < 1) {
    return error(Code::kInvalidArgument, "begin_filling: ", rows, " tokens, at least 1 is needed");
  }
  HEED_TRY(impl_->check_positions(*s, seq, rows));
  // Pages alone: page tables are small, and extend looks at every byte.
  uint64_t bytes = 0;
  for (size_t i = 0; i < s->lists.size(); ++i) {
    const kv::List& list = s->lists[i];
    if (rows > kv::kMaxSlots - list.len) {
      return error(Code::kOutOfRange, "sequence ", seq, ": ", list.len, " + ", rows,
                   " tokens exceed the ", kv::kMaxSlots, " slots of a list");
    }
    const auto added = static_cast<uint64_t>(pages_for(list.len + rows)) - list.pages.size();
    bytes += added * impl_->page_cost(impl_->layers[impl_->layer_of(i)].size_class);
  }
  HEED_TRY(impl_->check_limit(bytes, seq, "a prompt"));
  s->pending = static_cast<int32_t>(rows);
  s->filling = true;
  return {};
}

Status Store::extend(SeqId seq, int layer, int n) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_or_error(seq));
  if (!s->filling) {
    return error(Code::kInvalidArgument, "extend: sequence ", seq, " is not being filled");
  }
  if (layer < 0 || layer >= static_cast<int>(impl_->layers.size())) {
    return error(Code::kOutOfRange, "extend: layer ", layer, " of ", impl_->layers.size());
  }
  const kv::LayerInfo& info = impl_->layers[layer];
  const auto first = static_cast<size_t>(info.first_list);
  const int32_t left = s->pending - s->lists[first].pending;
  if (n < 1 || n > left) {
    return error(Code::kInvalidArgument, "extend: ", n, " tokens of sequence ", seq, ", layer ",
                 layer, " has room for 1 to ", left);
  }
  return impl_->extend(*s, seq, first, first + static_cast<size_t>(info.shape.kv_heads), n);
}

bool Store::filling(SeqId seq) const {
  const kv::Sequence* s = impl_->find(seq);
  return s != nullptr && s->filling;
}

}  // namespace heed
