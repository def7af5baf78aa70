// Creating a store, its sequences, and reading them.
#include <limits>
#include <new>

#include "base/guard.h"
#include "kv/store_impl.h"

namespace heed {
namespace {

Status check_shape(const LayerShape& shape, size_t layer) {
  if (shape.kv_heads < 1) {
    return error(Code::kOutOfRange, "layer ", layer, ": ", shape.kv_heads,
                 " KV heads, at least 1 is needed");
  }
  for (const auto& [name, size] : {std::pair{"key", shape.dk}, std::pair{"value", shape.dv}}) {
    if (size < 2 || size > kMaxHeadSize || size % 2 != 0) {
      return error(Code::kOutOfRange, "layer ", layer, ": ", name, " head size ", size,
                   " is not an even number from 2 to ", kMaxHeadSize);
    }
  }
  for (Format f : {shape.k, shape.v}) {
    if (static_cast<int>(f) >= kFormatCount) {
      return error(Code::kUnsupported, "layer ", layer, ": storage format number ",
                   static_cast<int>(f), " does not exist; heed knows f32, f16 and bf16");
    }
  }
  if (shape.v_aliases_k && (shape.dv > shape.dk || shape.k != shape.v)) {
    return error(Code::kInvalidArgument, "layer ", layer,
                 ": values that are the first columns of the keys need dv <= dk and one format, "
                 "not dk ",
                 shape.dk, " ", format_name(shape.k), ", dv ", shape.dv, " ", format_name(shape.v));
  }
  return {};
}

bool same_class(const LayerShape& a, const LayerShape& b) {
  return a.dk == b.dk && a.dv == b.dv && a.k == b.k && a.v == b.v && a.v_aliases_k == b.v_aliases_k;
}

}  // namespace

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

Store::Impl::~Impl() {
  for (auto& [id, sequence] : sequences) free_sequence(*sequence);
}

Result<std::unique_ptr<Store>> Store::create(const StoreDesc& desc) {
  return create(desc, kv::system_arenas());
}

Result<std::unique_ptr<Store>> Store::create(const StoreDesc& desc,
                                             std::unique_ptr<kv::ArenaSource> source) {
  if (desc.layers.empty()) return error(Code::kInvalidArgument, "a store needs at least one layer");
  if (!isa_supported(desc.isa)) {
    return error(Code::kUnsupported, "this machine cannot run the ", isa_name(desc.isa),
                 " kernels; see `heed doctor`");
  }
  try {
    auto impl = std::make_unique<Impl>(std::move(source));
    impl->desc = desc;
    for (size_t l = 0; l < desc.layers.size(); ++l) {
      HEED_TRY(check_shape(desc.layers[l], l));
      HEED_TRY(impl->add_layer(l));
    }
    return std::unique_ptr<Store>(new Store(std::move(impl)));
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for the tables of a page store");
  }
}

Status Store::Impl::add_layer(size_t l) {
  const LayerShape& shape = desc.layers[l];
  kv::LayerInfo info;
  info.shape = shape;
  info.k_ops = &kernels::format_ops(desc.isa, shape.k);
  info.v_ops = &kernels::format_ops(desc.isa, shape.v);
  info.first_list = static_cast<int>(layer_of_list.size());
  size_t like = 0;
  while (like < l && !same_class(desc.layers[like], shape)) ++like;
  if (like < l) {
    info.size_class = layers[like].size_class;
  } else if (pool.classes() == kv::kMaxClasses) {
    return error(Code::kOutOfRange, "layer ", l, ": a store holds at most ", kv::kMaxClasses,
                 " different page shapes");
  } else {
    size_t v_bytes = 0, entry = row_bytes(shape.k, shape.dk);
    if (!shape.v_aliases_k) {
      v_bytes = info.v_ops->v_bytes(shape.dv);
      entry += row_bytes(shape.v, shape.dv);
    }
    info.size_class = pool.add_class(info.k_ops->k_bytes(shape.dk), v_bytes, entry);
  }
  layers.push_back(info);
  layer_of_list.insert(layer_of_list.end(), shape.kv_heads, static_cast<int>(l));
  return {};
}

const StoreDesc& Store::desc() const { return impl_->desc; }

Result<kv::Sequence*> Store::Impl::find_or_error(SeqId seq) {
  if (kv::Sequence* s = find(seq)) return s;
  return error(Code::kNotFound, "sequence ", seq, " does not exist (", sequences.size(),
               " sequences are in the store)");
}

Result<kv::Sequence*> Store::Impl::find_closed(SeqId seq, const char* what) {
  HEED_ASSIGN(kv::Sequence * s, find_or_error(seq));
  if (s->open()) {
    return error(Code::kInvalidArgument, what, ": sequence ", seq, " has an open transaction of ",
                 s->pending, " tokens; commit or abort it first");
  }
  return s;
}

Status Store::Impl::check_limit(uint64_t extra, SeqId seq, const char* what) const {
  if (desc.max_bytes == 0 || committed + extra <= desc.max_bytes) return {};
  return error(Code::kResourceExhausted, what, " of sequence ", seq, " needs ", extra,
               " more bytes; the store holds ", committed, " of at most ", desc.max_bytes,
               ": drop a sequence, shorten the prompt or raise the limit");
}

Result<SeqId> Store::Impl::add_sequence(std::unique_ptr<kv::Sequence> sequence, const char* what) {
  uint64_t cost = sizeof(kv::Sequence);
  uint64_t with_live = 0;
  for (const kv::List& list : sequence->lists) {
    cost += list.overhead();
    with_live += list.side.has(SideArray::kLive);
  }
  while (sequences.contains(next_id)) {
    next_id = next_id == std::numeric_limits<SeqId>::max() ? 0 : next_id + 1;
  }
  HEED_TRY(check_limit(cost, next_id, what));
  const SeqId id = next_id;
  auto [it, added] = sequences.emplace(id, std::move(sequence));  // last thing that may throw
  next_id = id == std::numeric_limits<SeqId>::max() ? 0 : id + 1;
  for (const kv::List& list : it->second->lists) {
    for (PageId page : list.pages) pool.add_ref(page);
  }
  committed += cost;
  lists_with_live += with_live;
  return id;
}

Result<SeqId> Store::create_sequence(int64_t first_position) {
  if (first_position < 0 || first_position > kv::kMaxPosition) {
    return error(Code::kOutOfRange, "first position ", first_position, " is not in 0..",
                 kv::kMaxPosition);
  }
  try {
    auto s = std::make_unique<kv::Sequence>();
    s->lists.resize(impl_->layer_of_list.size());
    s->views.resize(impl_->layer_of_list.size());
    s->first_position = first_position;
    for (size_t i = 0; i < s->lists.size(); ++i) impl_->refresh_view(*s, i, 0);
    return impl_->add_sequence(std::move(s), "creation");
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for the lists of another sequence");
  }
}

Result<SeqId> Store::fork(SeqId seq) {
  HEED_ASSIGN(kv::Sequence * from, impl_->find_closed(seq, "fork"));
  try {
    auto s = std::make_unique<kv::Sequence>(*from);
    for (size_t i = 0; i < s->lists.size(); ++i) {
      s->lists[i].side.reserve(s->lists[i].pages.capacity());
      impl_->refresh_view(*s, i, s->lists[i].len);
    }
    return impl_->add_sequence(std::move(s), "fork");
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for the lists of a fork of sequence ", seq);
  }
}

Status Store::drop(SeqId seq) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_or_error(seq));
  if (s->open()) impl_->undo_append(*s);
  impl_->free_sequence(*s);
  impl_->sequences.erase(seq);
  return {};
}

void Store::Impl::free_sequence(kv::Sequence& s) {
  committed -= sizeof(kv::Sequence);
  for (kv::List& list : s.lists) {
    committed -= list.overhead();
    lists_with_live -= list.side.has(SideArray::kLive);
    for (PageId page : list.pages) release(page);
    if (list.replaced != kNoPage) release(list.replaced);
  }
}

PageId Store::Impl::take(int size_class) {
  committed += page_cost(size_class);
  return pool.take(size_class);
}

PageId Store::Impl::take_copy(PageId page) {
  committed += page_cost(kv::page_class(page));
  return pool.take_copy(page);
}

void Store::Impl::release(PageId page) {
  if (pool.refs(page) == 1) committed -= page_cost(kv::page_class(page));
  pool.release(page);
}

void Store::Impl::refresh_view(kv::Sequence& s, size_t list, int32_t len) {
  kv::List& l = s.lists[list];
  ListView& view = s.views[list];
  view.pages = l.pages.data();
  view.len = len;
  view.pos0 = s.first_position;
  view.pos = l.side.has(SideArray::kPosition) ? l.side.position.data() : nullptr;
  view.live = l.side.has(SideArray::kLive) ? l.side.live.data() : nullptr;
  view.bias = l.side.has(SideArray::kBias) ? l.side.bias.data() : nullptr;
}

const ListView* Store::lists(SeqId seq, int layer) const {
  kv::Sequence* s = impl_->find(seq);
  if (!s || layer < 0 || layer >= static_cast<int>(impl_->layers.size())) return nullptr;
  return s->views.data() + impl_->layers[layer].first_list;
}

int64_t Store::length(SeqId seq) const {
  kv::Sequence* s = impl_->find(seq);
  return s ? s->length : 0;
}

int64_t Store::next_position(SeqId seq) const {
  kv::Sequence* s = impl_->find(seq);
  return s ? s->first_position + s->length : 0;
}

bool Store::has_sequence(SeqId seq) const { return impl_->find(seq) != nullptr; }
const void* Store::k_page(PageId page) const { return impl_->pool.k_data(page); }
const void* Store::v_page(PageId page) const { return impl_->pool.v_data(page); }

bool Store::holds(PageId page, int layer) const {
  return layer >= 0 && layer < static_cast<int>(impl_->layers.size()) &&
         kv::page_class(page) == impl_->layers[layer].size_class && impl_->pool.in_use(page);
}

Result<void*> Store::side_array(SeqId seq, int layer, int kv_head, SideArray kind) {
  HEED_ASSIGN(kv::Sequence * s, impl_->find_or_error(seq));
  if (layer < 0 || layer >= static_cast<int>(impl_->layers.size()) || kv_head < 0 ||
      kv_head >= impl_->layers[layer].shape.kv_heads) {
    return error(Code::kOutOfRange, "layer ", layer, ", KV head ", kv_head,
                 " is not in the store of ", impl_->layers.size(), " layers");
  }
  if (static_cast<int>(kind) > static_cast<int>(SideArray::kTokenClass)) {
    return error(Code::kInvalidArgument, "side array number ", static_cast<int>(kind),
                 " does not exist");
  }
  const size_t index = impl_->layers[layer].first_list + kv_head;
  kv::List& list = s->lists[index];
  if (list.side.has(kind)) return list.side.data(kind);
  try {
    kv::SideArrays grown;  // the one new array, at the room of the page table
    grown.present = static_cast<uint8_t>(1u << static_cast<int>(kind));
    grown.reserve(list.pages.capacity());
    HEED_TRY(impl_->check_limit(grown.bytes(), seq, "a side array"));
    grown.resize(list.pages.size());
    impl_->committed += grown.bytes();
    list.side.adopt(std::move(grown), kind);
  } catch (const std::bad_alloc&) {
    return exhausted("no memory for a side array of sequence ", seq, ", layer ", layer,
                     ", KV head ", kv_head);
  }
  const int32_t len = s->views[index].len;
  if (kind == SideArray::kPosition) {
    for (int32_t i = 0; i < len; ++i) {
      list.side.position[i] = static_cast<int32_t>(s->first_position + i);
    }
  }
  impl_->lists_with_live += kind == SideArray::kLive;
  impl_->refresh_view(*s, index, len);
  return list.side.data(kind);
}

}  // namespace heed
