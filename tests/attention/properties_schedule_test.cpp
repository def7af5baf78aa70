// A prompt read in chunks and then generated token by token, with other sequences in the same calls
// and any number of threads: every row has the bits of a run of its own (requirement 19).
#include <cstring>

#include "attention_problem.h"
#include "isa_list.h"

namespace heed::test {
namespace {

struct Shape {
  Isa isa;
  Format format;
  int heads = 4, kv_heads = 2, d = 32;
  MaskKind mask = MaskKind::kCausal;
  int window = 0;
};

// The rows of one made-up sequence: everything is a function of (seed, position).
struct Script {
  uint64_t seed = 0;
  int length = 0;
  std::vector<float> q, k, v;   // [length, heads or kv_heads, d]
  std::vector<float> out, lse;  // what the schedule under test gave
  SeqId id = -1;
  int done = 0;

  Script(const Shape& shape, uint64_t seed_in, int length_in) : seed(seed_in), length(length_in) {
    const auto fill = [&](std::vector<float>& x, int heads, uint64_t stream) {
      x.resize(int64_t{length} * heads * shape.d);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = static_cast<float>(random_normal(seed * 8 + stream, i));
      }
    };
    fill(q, shape.heads, 1);
    fill(k, shape.kv_heads, 2);
    fill(v, shape.kv_heads, 3);
    out.resize(q.size());
    lse.resize(int64_t{length} * shape.heads);
  }
};

// One step: appends the next n[i] rows of every script i to the store and attends them in one call.
void step(Store& store, const Shape& shape, std::vector<Script*>& scripts,
          const std::vector<int>& n, int threads) {
  const int64_t width = int64_t{shape.heads} * shape.d;
  std::vector<float> q;
  std::vector<SeqRows> seqs;
  for (size_t i = 0; i < scripts.size(); ++i) {
    Script& s = *scripts[i];
    const View<const float, 3> k{s.k.data() + int64_t{s.done} * shape.kv_heads * shape.d,
                                 {n[i], shape.kv_heads, shape.d},
                                 {int64_t{shape.kv_heads} * shape.d, shape.d, 1}};
    View<const float, 3> v = k;
    v.data = s.v.data() + (k.data - s.k.data());
    ASSERT_TRUE(store.begin_append(s.id, n[i]).is_ok());
    for (int m = 0; m < threads; ++m) store.append(s.id, 0, k, v, m, threads);
    SeqRows rows;
    rows.first = static_cast<int32_t>(q.size() / width);
    rows.rows = n[i];
    rows.pos0 = s.done;
    rows.lists = store.lists(s.id, 0);
    seqs.push_back(rows);
    q.insert(q.end(), s.q.begin() + s.done * width, s.q.begin() + (s.done + n[i]) * width);
  }
  const int64_t t = static_cast<int64_t>(q.size()) / width;
  std::vector<float> out(q.size()), lse(t * shape.heads);
  Call call;
  call.store = &store;
  call.heads = {shape.heads, shape.kv_heads, nullptr};
  call.dk = call.dv = shape.d;
  call.scale = 0.2f;
  call.mask = shape.mask;
  call.window = shape.window;
  call.q = View<const float, 3>::contiguous(q.data(), {t, shape.heads, shape.d});
  call.out = View<float, 3>::contiguous(out.data(), {t, shape.heads, shape.d});
  call.lse = View<float, 2>::contiguous(lse.data(), {t, shape.heads});
  call.seqs = seqs;
  Plan plan;
  EXPECT_TRUE(plan_dense(call, plan).is_ok());
  Workspace workspace(shape.isa, threads);
  ASSERT_TRUE(workspace.reserve(plan, call).is_ok());
  cpu::Team team(threads);
  team.run([&](int member, int members) { run(plan, call, workspace, member, members); });
  for (size_t i = 0; i < scripts.size(); ++i) {
    Script& s = *scripts[i];
    const int64_t at = seqs[i].first;
    std::copy_n(out.begin() + at * width, n[i] * width, s.out.begin() + s.done * width);
    std::copy_n(lse.begin() + at * shape.heads, n[i] * shape.heads,
                s.lse.begin() + int64_t{s.done} * shape.heads);
    store.commit(s.id);
    s.done += n[i];
  }
}

std::unique_ptr<Store> make_store(const Shape& shape) {
  StoreDesc desc;
  desc.layers = {{shape.kv_heads, shape.d, shape.d, shape.format, shape.format}};
  desc.isa = shape.isa;
  auto store = Store::create(desc);
  EXPECT_TRUE(store.is_ok()) << store.message();
  return std::move(*store);
}

// The whole prompt in one call, alone, by one thread.
void run_alone(const Shape& shape, Script& script) {
  auto store = make_store(shape);
  script.id = *store->create_sequence();
  std::vector<Script*> only = {&script};
  step(*store, shape, only, {script.length}, 1);
}

void expect_same_bits(const Script& a, const Script& b) {
  ASSERT_EQ(a.out.size(), b.out.size());
  EXPECT_EQ(std::memcmp(a.out.data(), b.out.data(), a.out.size() * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(a.lse.data(), b.lse.data(), a.lse.size() * sizeof(float)), 0);
}

// Random steps until every script is read: who takes part, with how many rows, how many threads.
void run_schedule(const Shape& shape, std::vector<Script>& scripts, uint64_t seed) {
  Random random(seed);
  auto store = make_store(shape);
  for (Script& s : scripts) s.id = *store->create_sequence();
  for (;;) {
    std::vector<Script*> some;
    std::vector<int> n;
    bool left = false;
    for (Script& s : scripts) {
      left = left || s.done < s.length;
      if (s.done == s.length || random.below(3) == 0) continue;
      const int most = random.below(2) == 0 ? 1 : static_cast<int>(1 + random.below(300));
      some.push_back(&s);
      n.push_back(std::min(s.length - s.done, most == 1 ? 1 : most));
    }
    if (!left) return;
    if (some.empty()) continue;
    // One row at a time for hundreds of steps says little: the last rows are enough of that.
    for (size_t i = 0; i < n.size(); ++i) {
      if (n[i] == 1 && some[i]->length - some[i]->done > 40) n[i] = 37;
    }
    ASSERT_NO_FATAL_FAILURE(step(*store, shape, some, n, 1 + static_cast<int>(random.below(3))));
  }
}

TEST(Schedules, any_schedule_gives_the_bits_of_a_run_alone) {
  int schedules = 0;
  for (Isa isa : tested_isas()) {
    for (int f = 0; f < kFormatCount; ++f) {
      Shape shape{isa, static_cast<Format>(f)};
      if (f == 1) shape.mask = MaskKind::kWindow, shape.window = 150;
      const std::vector<int> lengths = {1100, 330, 70};
      std::vector<Script> expected;
      for (size_t i = 0; i < lengths.size(); ++i) {
        expected.emplace_back(shape, i, lengths[i]);
        ASSERT_NO_FATAL_FAILURE(run_alone(shape, expected.back()));
      }
      for (uint64_t seed = 0; seed < 17; ++seed, ++schedules) {
        std::vector<Script> scripts;
        for (size_t i = 0; i < lengths.size(); ++i) scripts.emplace_back(shape, i, lengths[i]);
        ASSERT_NO_FATAL_FAILURE(run_schedule(shape, scripts, seed));
        for (size_t i = 0; i < scripts.size(); ++i) {
          SCOPED_TRACE(cat(isa_name(isa), " ", format_name(shape.format), " schedule ", seed,
                           " sequence ", i));
          expect_same_bits(scripts[i], expected[i]);
        }
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GE(schedules, 17 * kFormatCount);
}

}  // namespace
}  // namespace heed::test
