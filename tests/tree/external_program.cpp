// A program outside the tree, for the installed headers and libheed: three keys, one query, printed
// as text so that the test compares it with the formula.
#include <heed/heed.h>

#include <cstdio>

int main() {
  heed::StoreDesc desc{.layers = {{.kv_heads = 1, .dk = 2, .dv = 2}}};
  if (auto isa = heed::choose_isa(); isa.is_ok()) desc.isa = *isa;
  auto store = heed::Store::create(desc);
  const heed::SeqId seq = *(*store)->create_sequence();
  const float k[] = {1, 0, 0, 1, 1, 1}, v[] = {1, 0, 0, 1, 4, 4}, q[] = {2, 0};
  if (!(*store)->begin_append(seq, 3).is_ok()) return 1;
  (*store)->append(seq, 0, {k, {3, 1, 2}, {2, 2, 1}}, {v, {3, 1, 2}, {2, 2, 1}}, 0, 1);
  (*store)->commit(seq);

  float out[2];
  heed::SeqRows rows;
  rows.rows = 1, rows.pos0 = 2, rows.lists = (*store)->lists(seq, 0);
  heed::Call call;
  call.store = store->get(), call.heads = {1, 1, nullptr}, call.dk = call.dv = 2;
  call.q = {q, {1, 1, 2}, {2, 2, 1}};
  call.out = {out, {1, 1, 2}, {2, 2, 1}};
  call.seqs = {&rows, 1};
  heed::Plan plan;
  if (!heed::plan_dense(call, plan).is_ok()) return 1;
  heed::Workspace workspace(desc.isa, 1);
  if (!workspace.reserve(plan, call).is_ok()) return 1;
  heed::run(plan, call, workspace, 0, 1);
  std::printf("%.3f %.3f\n", out[0], out[1]);
}
