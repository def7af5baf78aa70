// heed's product on one problem: what a node of the step's graph does, by a team of its own.
#include "base/aligned.h"
#include "base/guard.h"
#include "cpu/team.h"
#include "eval/linear_problem.h"
#include "model/linear.h"

namespace heed::eval {
namespace {

class HeedLinear : public LinearContender {
 public:
  HeedLinear(const LinearProblem& problem, Precision precision, Isa isa, int threads)
      : problem_(problem), precision_(precision), team_(threads), workspace_(isa, threads) {}

  Status prepare(int64_t copies);

  const char* engine() const override {
    return precision_ == Precision::kAccurate ? "heed accurate" : "heed";
  }
  int64_t copies() const override { return used_; }
  void park() override {}  // the team sleeps of its own accord

  std::span<const float> output(int64_t t) const override {
    const auto outputs = static_cast<size_t>(problem_.size.outputs);
    return {&y_[static_cast<size_t>(t) * outputs], outputs};
  }

  Status begin(int64_t rows) override;
  Status round() override;

 private:
  InputForm form() const { return weights_.front().input_form(); }
  // x as the kernels read it; a tile of rows every member packs for itself, as the model does.
  const void* pack(int member, int members);

  const LinearProblem& problem_;
  const Precision precision_;
  cpu::Team team_;
  cpu::Barrier barrier_;
  LinearWorkspace workspace_;
  std::vector<PackedWeight> weights_;
  int64_t rows_ = 0, used_ = 0;  // of the rounds: rows of x, copies
  AlignedMemory packed_;
  std::vector<float> y_;  // [rows, outputs]
};

Status HeedLinear::prepare(int64_t copies) {
  HEED_TRY(workspace_.reserve(problem_.size.inputs));
  for (int64_t i = 0; i < copies; ++i) {
    HEED_ASSIGN(PackedWeight weight, PackedWeight::create(problem_.type, problem_.size.outputs,
                                                          problem_.size.inputs, precision_));
    team_.run([&](int member, int members) {
      const int64_t groups = weight.groups();
      weight.fill(problem_.file.data(), groups * member / members, groups * (member + 1) / members);
    });
    weights_.push_back(std::move(weight));
  }
  return Status::ok();
}

Status HeedLinear::begin(int64_t rows) {
  rows_ = rows;
  used_ = rows <= kStreamedRows ? static_cast<int64_t>(weights_.size()) : 1;
  const int64_t bytes = packed_input_bytes(form(), rows, problem_.size.inputs);
  packed_ = allocate_aligned(static_cast<size_t>(bytes));
  if (!packed_) return error(Code::kResourceExhausted, "no memory for ", bytes, " bytes of inputs");
  y_.assign(static_cast<size_t>(rows * problem_.size.outputs), 0);
  return Status::ok();
}

const void* HeedLinear::pack(int member, int members) {
  Input input;
  input.x = problem_.x.data();
  input.stride = input.inputs = problem_.size.inputs;
  input.rows = rows_;
  uint8_t* const scratch = workspace_.worker(member, members).scratch;
  if (rows_ <= kTileRows) {
    uint8_t* const own = workspace_.own_rows(member, form());
    pack_inputs(workspace_.isa(), form(), own, input, scratch, 0, 1);
    return own;
  }
  pack_inputs(workspace_.isa(), form(), packed_.get(), input, scratch, member, members);
  barrier_.wait(members);
  return packed_.get();
}

Status HeedLinear::round() {
  team_.run([this](int member, int members) {
    for (int64_t i = 0; i < used_; ++i) {
      Product product;
      product.weight = &weights_[static_cast<size_t>(i)];
      product.x = pack(member, members);
      product.y = y_.data();
      product.y_stride = problem_.size.outputs;
      multiply(workspace_.isa(), {&product, 1}, rows_, workspace_.worker(member, members));
      barrier_.wait(members);
    }
  });
  return Status::ok();
}

}  // namespace

Result<std::unique_ptr<LinearContender>> make_heed_linear(const LinearProblem& problem,
                                                          Precision precision, int64_t copies,
                                                          int threads) {
  return guarded("preparing heed's products", [&]() -> Result<std::unique_ptr<LinearContender>> {
    HEED_ASSIGN(const Isa isa, choose_isa());
    auto contender = std::make_unique<HeedLinear>(problem, precision, isa, threads);
    HEED_TRY(contender->prepare(copies));
    return std::unique_ptr<LinearContender>(std::move(contender));
  });
}

}  // namespace heed::eval
