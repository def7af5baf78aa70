// One sequence, one head, values of the caller's choice: for tests about particular numbers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "heed/attention.h"
#include "heed/kv.h"

namespace heed::test {

struct TinyAttention {
  Isa isa = Isa::kScalar;
  Format format = Format::kF32;
  int d = 16;
  MaskKind mask = MaskKind::kNone;
  float scale = 1.0f;
  const float* sink = nullptr;
  std::vector<uint64_t> tile_masks;  // [rows][pages], or empty

  std::vector<float> out, lse;  // [rows, d], [rows]

  // Rows q [rows, d] against k, v [keys, d]; queries are the last positions.
  void run(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v) {
    const int rows = static_cast<int>(q.size()) / d, keys = static_cast<int>(k.size()) / d;
    StoreDesc desc;
    desc.layers = {{1, d, d, format, format}};
    desc.isa = isa;
    auto store = Store::create(desc);
    ASSERT_TRUE(store.is_ok()) << store.message();
    const SeqId seq = *(*store)->create_sequence();
    if (keys > 0) {
      ASSERT_TRUE((*store)->begin_append(seq, keys).is_ok());
      (*store)->append(seq, 0, View<const float, 3>::contiguous(k.data(), {keys, 1, d}),
                       View<const float, 3>::contiguous(v.data(), {keys, 1, d}), 0, 1);
      (*store)->commit(seq);
    }
    SeqRows seq_rows;
    seq_rows.rows = rows;
    seq_rows.pos0 = keys - rows;
    seq_rows.lists = (*store)->lists(seq, 0);
    out.assign(q.size(), -7.0f);
    lse.assign(rows, -7.0f);
    Call call;
    call.store = store->get();
    call.heads = {1, 1, nullptr};
    call.dk = call.dv = d;
    call.scale = scale;
    call.mask = mask;
    call.sinks = sink;
    call.q = View<const float, 3>::contiguous(q.data(), {rows, 1, d});
    call.out = View<float, 3>::contiguous(out.data(), {rows, 1, d});
    call.lse = View<float, 2>::contiguous(lse.data(), {rows, 1});
    call.seqs = {&seq_rows, 1};
    Plan plan;
    EXPECT_TRUE(plan_dense(call, plan).is_ok());
    if (!tile_masks.empty()) {
      plan.tile_masks = tile_masks;
      const int pages = (keys + kPageTokens - 1) / kPageTokens;
      plan.items = {{0, 0, 1, 0, rows, 0, 1}};
      plan.ranges = {{0, pages, 0, 0, 0, 0}};
    }
    const Status valid = validate(plan, call);
    ASSERT_TRUE(valid.is_ok()) << valid.message();
    Workspace workspace(isa, 1);
    ASSERT_TRUE(workspace.reserve(plan, call).is_ok());
    heed::run(plan, call, workspace, 0, 1);
  }
};

}  // namespace heed::test
