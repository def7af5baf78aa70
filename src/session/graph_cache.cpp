#include "session/graph_cache.h"

#include <ggml-backend.h>

#include <algorithm>
#include <new>

namespace heed {
Status GraphCache::fill(Slot& slot, Result<std::unique_ptr<StepGraph>> built) {
  HEED_TRY(built.status());
  ++builds_;
  // The new graph takes the memory of the old one, and is kept only when it has it.
  slot.graph.reset();
  if (!slot.allocator) slot.allocator.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  try {
    HEED_TRY((*built)->allocate(slot.allocator.get(), threads_, pool_));
  } catch (const std::bad_alloc&) {
    // ggml lets a shortage in its C++ part fly through its C part, which then still points to
    // what it had just freed: freeing the allocator would free that twice, so it is left behind.
    static_cast<void>(slot.allocator.release());
    throw;
  }
  slot.graph = std::move(*built);
  return Status::ok();
}

Result<StepGraph*> GraphCache::step(const GraphShape& shape) {
  if (shape.rows > kSmallRows || shape.first_layer > 0 || shape.end_layer > 0) {
    if (!large_.graph || !(large_.graph->shape() == shape)) {
      HEED_TRY(fill(large_, StepGraph::build(hyper_, weights_, ops_, linears_, shape)));
    }
    return large_.graph.get();
  }
  const auto at = std::find_if(small_.begin(), small_.end(),
                               [&](const Slot& slot) { return slot.graph->shape() == shape; });
  if (at != small_.end()) {
    small_.splice(small_.begin(), small_, at);
    return small_.front().graph.get();
  }
  Slot slot;
  HEED_TRY(fill(slot, StepGraph::build(hyper_, weights_, ops_, linears_, shape)));
  if (small_.size() == kSmallGraphs) small_.pop_back();
  small_.push_front(std::move(slot));
  return small_.front().graph.get();
}

Result<StepGraph*> GraphCache::head(int rows, const AdaptedKey& adapted) {
  const bool same =
      head_.graph && head_.graph->shape().rows == rows && head_.graph->shape().adapted == adapted;
  if (!same) {
    HEED_TRY(fill(head_, StepGraph::build_head(hyper_, weights_, linears_, rows, adapted)));
  }
  return head_.graph.get();
}

}  // namespace heed
