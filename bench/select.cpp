// bench_select [SLOTS] [DK] [HEADS] [KV_HEADS] [FORMAT] [ROWS] [THREADS]: what the primitives of
// selection cost on random keys (default 32768 64 14 2 bf16 512 2: a chunk of Qwen 0.5B).
//
// Prints, per primitive, nanoseconds per key of all lists, the rate of the multiply-adds that its
// formula names and its share of the processor's roof for that format, measured in the same rounds.
// Medians over rounds; the primitives alternate within a round.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/clock.h"
#include "base/random.h"
#include "cpu/team.h"
#include "eval/machine.h"
#include "heed/kv.h"
#include "select/antidiagonal.h"
#include "select/block_scores.h"
#include "select/pick.h"
#include "select/probe.h"
#include "select/summaries.h"

namespace {

using namespace heed;
using namespace heed::select;

constexpr int kRounds = 9;

struct Setup {
  int slots = 32768, dk = 64, heads = 14, kv_heads = 2;
  Format format = Format::kBf16;
  int rows = 512, threads = 2;
};

// One primitive: its work on all threads, and the multiply-adds of one call (0: none to speak of).
struct Case {
  std::string name;
  double multiply_adds = 0;
  std::function<void()> run;
  std::vector<double> seconds;
};

// Keys, queries and memory of all primitives.
class Bench {
 public:
  explicit Bench(const Setup& setup) : setup_(setup), team_(setup.threads) {}

  Status prepare() {
    HEED_ASSIGN(const Isa isa, choose_isa());
    StoreDesc desc;
    desc.isa = isa;
    desc.layers = {{setup_.kv_heads, setup_.dk, setup_.dk, setup_.format, setup_.format}};
    HEED_ASSIGN(store_, Store::create(desc));
    HEED_ASSIGN(const SeqId seq, store_->create_sequence());
    HEED_TRY(store_->begin_append(seq, setup_.slots));
    const std::vector<float> k = random(int64_t{setup_.slots} * setup_.kv_heads * setup_.dk, 1);
    const auto view =
        View<const float, 3>::contiguous(k.data(), {setup_.slots, setup_.kv_heads, setup_.dk});
    store_->append(seq, 0, view, view, 0, 1);
    store_->commit(seq);
    keys_ = {store_.get(),
             store_->lists(seq, 0),
             {setup_.heads, setup_.kv_heads, nullptr},
             setup_.format,
             setup_.dk};
    keys_.scale = 0.125f;
    keys_.isa = isa;
    q_ = random(int64_t{setup_.rows} * setup_.heads * setup_.dk, 2);
    out_.resize(int64_t{setup_.heads} * setup_.slots * 2);
    summaries_ = std::make_unique<KeySummaries>(setup_.kv_heads, setup_.dk, 64,
                                                kMeans | kExtremes | kSelfSimilarity);
    return summaries_->reserve(setup_.slots);
  }

  std::vector<Case> cases() {
    std::vector<Case> all;
    for (int rows : {64, 128}) {
      if (rows > setup_.rows) continue;
      all.push_back({"probe " + std::to_string(rows) + " rows, columns and diagonals",
                     2.0 * rows * per_row(),
                     [this, rows] { probe(rows); },
                     {}});
    }
    for (int stride : {8, 16}) {
      all.push_back({"antidiagonal s=" + std::to_string(stride),
                     static_cast<double>(setup_.rows) * per_row() / stride,
                     [this, stride] { antidiagonal(stride); },
                     {}});
    }
    all.push_back({"summaries of all keys", 0, [this] { summarise(); }, {}});
    all.push_back({"pooled scores of all rows",
                   static_cast<double>(setup_.rows) * per_row() / 64,
                   [this] { pooled(); },
                   {}});
    all.push_back({"top_k of an eighth, per head", 0, [this] { pick(true); }, {}});
    all.push_back({"top_p 0.9, per head", 0, [this] { pick(false); }, {}});
    return all;
  }

 private:
  double per_row() const { return static_cast<double>(setup_.slots) * setup_.dk * setup_.heads; }

  static std::vector<float> random(int64_t n, uint64_t stream) {
    std::vector<float> x(n);
    for (int64_t i = 0; i < n; ++i) x[i] = static_cast<float>(random_normal(stream, i));
    return x;
  }

  View<const float, 3> last_rows(int rows) const {
    const int64_t skip = int64_t{setup_.rows - rows} * setup_.heads * setup_.dk;
    return View<const float, 3>::contiguous(q_.data() + skip, {rows, setup_.heads, setup_.dk});
  }

  uint8_t* memory(size_t bytes, int which) {
    if (memory_.size() <= static_cast<size_t>(which)) memory_.resize(which + 1);
    if (memory_[which].size() < bytes + 64) memory_[which].resize(bytes + 64);
    const auto at = reinterpret_cast<uintptr_t>(memory_[which].data());
    return memory_[which].data() + (64 - at % 64) % 64;
  }

  template <class Primitive>
  void run_phases(const Primitive& primitive, size_t thread_bytes) {
    std::vector<uint8_t*> scratch;
    for (int i = 0; i < team_.size(); ++i) scratch.push_back(memory(thread_bytes, 1 + i));
    for (int phase = 0; phase < Primitive::kPhases; ++phase) {
      team_.run([&](int member, int members) {
        for (int64_t u = member; u < primitive.units(phase); u += members) {
          primitive.run(phase, u, scratch[member]);
        }
      });
    }
  }

  void probe(int rows) {
    const SelectBound bound{rows, setup_.slots};
    ProbeOutputs out;
    out.columns = out_.data();
    out.diagonals = out_.data() + int64_t{setup_.heads} * setup_.slots;
    out.stride = setup_.slots;
    run_phases(Probe(keys_, last_rows(rows), setup_.slots - rows, out,
                     memory(Probe::shared_bytes(keys_, bound, true), 0)),
               Probe::thread_bytes(keys_, bound));
  }

  void antidiagonal(int stride) {
    const AntidiagonalShape shape{stride, 128};
    const SelectBound bound{setup_.rows, setup_.slots};
    run_phases(Antidiagonal(keys_, shape, last_rows(setup_.rows), setup_.slots - setup_.rows,
                            out_.data(), setup_.slots / 128 + 1,
                            memory(Antidiagonal::shared_bytes(keys_, shape, bound), 0)),
               Antidiagonal::thread_bytes(keys_, shape));
  }

  void summarise() {
    summaries_->truncate(0);
    summaries_->begin(keys_);
    team_.run([&](int member, int members) {
      for (int64_t u = member; u < summaries_->units(); u += members) summaries_->run(keys_, u);
    });
    summaries_->end();
  }

  void pooled() {
    const size_t bytes = BlockScores::thread_bytes(setup_.dk);
    std::vector<uint8_t*> scratch;
    for (int i = 0; i < team_.size(); ++i) scratch.push_back(memory(bytes, 1 + i));
    const int32_t blocks = summaries_->blocks(0);
    scores_.resize(int64_t{setup_.heads} * setup_.rows * blocks);
    team_.run([&](int member, int members) {
      for (int h = member; h < setup_.heads; h += members) {
        BlockScores scores;
        scores.isa = keys_.isa;
        scores.summaries = summaries_.get();
        scores.kv_head = keys_.heads.kv_of(h);
        scores.q = q_.data() + int64_t{h} * setup_.dk;
        scores.q_stride = int64_t{setup_.heads} * setup_.dk;
        scores.rows = setup_.rows;
        scores.out = scores_.data() + int64_t{h} * setup_.rows * blocks;
        scores.out_stride = blocks;
        scores.run(scratch[member]);
      }
    });
  }

  // Of the columns that the last probe left.
  void pick(bool k) {
    const size_t bytes = pick_bytes(setup_.slots);
    std::vector<uint8_t*> scratch;
    for (int i = 0; i < team_.size(); ++i) scratch.push_back(memory(bytes, 1 + i));
    kept_.resize(int64_t{setup_.heads} * setup_.slots);
    team_.run([&](int member, int members) {
      for (int h = member; h < setup_.heads; h += members) {
        const std::span<const float> row(out_.data() + int64_t{h} * setup_.slots, setup_.slots);
        int32_t* to = kept_.data() + int64_t{h} * setup_.slots;
        if (k) {
          top_k(row, setup_.slots / 8, {}, scratch[member], to);
        } else {
          top_p(row, {.p = 0.9f}, {}, scratch[member], to);
        }
      }
    });
  }

  Setup setup_;
  cpu::Team team_;
  std::unique_ptr<Store> store_;
  Keys keys_;
  std::unique_ptr<KeySummaries> summaries_;
  std::vector<float> q_, out_, scores_;
  std::vector<int32_t> kept_;
  std::vector<std::vector<uint8_t>> memory_;
};

Status run(const Setup& setup) {
  Bench bench(setup);
  HEED_TRY(bench.prepare());
  HEED_ASSIGN(eval::Machine machine, eval::describe_machine(setup.threads));
  std::vector<Case> cases = bench.cases();
  for (int round = 0; round <= kRounds; ++round) {
    HEED_TRY(eval::measure_roofs(machine));
    // Picks read what a probe left, so the first round is in order and not counted.
    for (Case& c : cases) {
      const auto start = Clock::now();
      c.run();
      if (round > 0) c.seconds.push_back(seconds_since(start));
    }
  }
  const bool pairs = setup.format == Format::kBf16 && machine.bf16_gflops > 0;
  const double roof = pairs ? machine.bf16_gflops : machine.fp32_gflops;
  std::printf("%s, %s, %d threads, roof %.0f GFLOP/s (%s)\n", machine.cpu.c_str(),
              machine.isa.c_str(), setup.threads, roof, pairs ? "bf16" : "fp32");
  std::printf("%-40s %10s %10s %10s %8s\n", "", "ms", "ns/key", "GFLOP/s", "roof");
  for (Case& c : cases) {
    std::nth_element(c.seconds.begin(), c.seconds.begin() + kRounds / 2, c.seconds.end());
    const double seconds = c.seconds[kRounds / 2], rate = 2e-9 * c.multiply_adds / seconds;
    std::printf("%-40s %10.3f %10.2f", c.name.c_str(), seconds * 1e3,
                seconds * 1e9 / setup.slots / setup.kv_heads);
    if (c.multiply_adds > 0) std::printf(" %10.1f %7.1f%%", rate, 100 * rate / roof);
    std::printf("\n");
  }
  return Status::ok();
}

}  // namespace

int main(int count, char** words) {
  Setup setup;
  int* const numbers[] = {&setup.slots, &setup.dk,   &setup.heads,  &setup.kv_heads,
                          nullptr,      &setup.rows, &setup.threads};
  for (int i = 1; i < count; ++i) {
    if (i == 5) {
      const auto format = parse_format(words[i]);
      if (!format.is_ok()) return std::fprintf(stderr, "%s\n", format.message().c_str()), 2;
      setup.format = *format;
    } else if (i > 7 || (*numbers[i - 1] = std::atoi(words[i])) < 1) {
      std::fprintf(
          stderr,
          "usage: bench_select [SLOTS] [DK] [HEADS] [KV_HEADS] [FORMAT] [ROWS] [THREADS]\n");
      return 2;
    }
  }
  if (setup.rows > setup.slots || setup.heads % setup.kv_heads != 0) {
    std::fprintf(stderr, "bench_select: ROWS are at most SLOTS, HEADS a multiple of KV_HEADS\n");
    return 2;
  }
  const Status status = run(setup);
  if (!status.is_ok()) std::fprintf(stderr, "%s\n", status.message().c_str());
  return status.is_ok() ? 0 : 1;
}
