// oneDNN's matmul as a contender on the problems of `heed bench linears`: its own layout of the
// weight, made ahead of time, and inputs brought into the type that it multiplies inside the round.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/clock.h"
#include "base/guard.h"
#include "eval/linear_problem.h"

namespace heed::bench {

// A primitive for each number of rows, with the layout that it asks for; or one for all of them,
// whose number of rows and layout are left open (which the library allows for plain layouts only).
enum class Primitive { kEachRowCount, kOneForAll };

inline dnnl::matmul::primitive_desc describe(const dnnl::engine& engine,
                                             const dnnl::memory::desc& x,
                                             const dnnl::memory::desc& weight,
                                             const dnnl::memory::desc& y) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, x, weight, y};
#else
  return {dnnl::matmul::desc(x, weight, y), engine};
#endif
}

class OnednnProduct : public eval::LinearContender {
 public:
  using Memory = dnnl::memory;
  using Type = Memory::data_type;
  using Tag = Memory::format_tag;

  OnednnProduct(const eval::LinearProblem& problem, int64_t copies, int threads,
                Primitive primitive)
      : problem_(problem),
        primitive_(primitive),
        most_copies_(copies),
        threads_(threads),
        type_(problem.type == WeightType::kBf16 ? Type::bf16 : Type::f32) {}

  const char* engine() const override { return "oneDNN"; }
  int64_t copies() const override { return used_; }
  void park() override {}  // the caller waits until its threads sleep

  std::span<const float> output(int64_t t) const override {
    const auto outputs = static_cast<size_t>(problem_.size.outputs);
    return {&y_[static_cast<size_t>(t) * outputs], outputs};
  }

  // kUnsupported: the library has no such product here.
  Status begin(int64_t rows) override {
    return in_library("preparing oneDNN's product", [&] { prepare(rows); });
  }

  Status round() override {
    return in_library("oneDNN's product", [&] {
      omp_set_num_threads(threads_);
      for (int64_t i = 0; i < used_; ++i) {
        if (type_ != Type::f32) convert_.execute(stream_, given_, x_);
        product_.execute(stream_, {{DNNL_ARG_SRC, x_},
                                   {DNNL_ARG_WEIGHTS, weights_[static_cast<size_t>(i)]},
                                   {DNNL_ARG_DST, result_}});
      }
      stream_.wait();
    });
  }

  // Of the last begin(): the library's name of its kernel, and what making the primitive took, its
  // machine code included.
  const std::string& kernel() const { return kernel_; }
  double create_s() const { return create_s_; }

 private:
  template <class Call>
  static Status in_library(const char* what, const Call& call) {
    return guarded(what, [&]() -> Status {
      try {
        call();
        return Status::ok();
      } catch (const dnnl::error& e) {
        const Code code = e.status == dnnl_unimplemented   ? Code::kUnsupported
                          : e.status == dnnl_out_of_memory ? Code::kResourceExhausted
                                                           : Code::kInternal;
        return error(code, what, ": ", e.what());
      }
    });
  }

  static AlignedMemory allocate(size_t bytes) {
    AlignedMemory memory = allocate_aligned(bytes);
    if (!memory) throw std::bad_alloc();
    return memory;
  }

  void prepare(int64_t rows) {
    const int64_t inputs = problem_.size.inputs, outputs = problem_.size.outputs;
    const bool open = primitive_ == Primitive::kOneForAll;
    const int64_t described = open ? DNNL_RUNTIME_DIM_VAL : rows;
    omp_set_num_threads(threads_);  // a primitive is made for a number of threads
    const auto start = Clock::now();
    const auto chosen = describe(engine_, {{described, inputs}, type_, Tag::ab},
                                 {{inputs, outputs}, type_, open ? Tag::ba : Tag::any},
                                 {{described, outputs}, Type::f32, Tag::ab});
    product_ = dnnl::matmul(chosen);
    create_s_ = seconds_since(start);
    kernel_ = chosen.impl_info_str();
    lay_out(chosen.weights_desc());
    used_ = rows <= eval::kStreamedRows ? most_copies_ : 1;
    bind_rows(rows);
  }

  void bind_rows(int64_t rows) {
    const int64_t inputs = problem_.size.inputs, outputs = problem_.size.outputs;
    // The library takes what it only reads as void* too.
    given_ = Memory({{rows, inputs}, Type::f32, Tag::ab}, engine_,
                    const_cast<float*>(problem_.x.data()));
    x_ = given_;
    if (type_ != Type::f32) {
      const Memory::desc desc({rows, inputs}, type_, Tag::ab);
      converted_ = allocate(desc.get_size());
      x_ = Memory(desc, engine_, converted_.get());
      convert_ = dnnl::reorder(given_, x_);
    }
    y_.assign(static_cast<size_t>(rows * outputs), 0);
    result_ = Memory({{rows, outputs}, Type::f32, Tag::ab}, engine_, y_.data());
  }

  // The copies of the weight in `layout`, each in memory like that of heed's.
  void lay_out(const Memory::desc& layout) {
    if (!weights_.empty() && weights_.front().get_desc() == layout) return;
    weights_.clear();
    owned_.clear();
    const std::vector<float> wide = widened();
    const void* from = problem_.type == WeightType::kF16 ? static_cast<const void*>(wide.data())
                                                         : problem_.file.data();
    Memory file({{problem_.size.inputs, problem_.size.outputs}, type_, Tag::ba}, engine_,
                const_cast<void*>(from));
    for (int64_t i = 0; i < most_copies_; ++i) {
      owned_.push_back(allocate(layout.get_size()));
      weights_.emplace_back(layout, engine_, owned_.back().get());
      dnnl::reorder(file, weights_.back()).execute(stream_, file, weights_.back());
    }
    stream_.wait();
  }

  // f16 weights as f32, which the library multiplies; empty for the other types.
  std::vector<float> widened() const {
    std::vector<float> wide;
    if (problem_.type != WeightType::kF16) return wide;
    const size_t all = static_cast<size_t>(problem_.size.inputs * problem_.size.outputs);
    wide.reserve(all);
    while (wide.size() < all) {  // the problem repeats its first rows
      const size_t more = std::min(problem_.decoded.size(), all - wide.size());
      wide.insert(wide.end(), problem_.decoded.begin(),
                  problem_.decoded.begin() + static_cast<std::ptrdiff_t>(more));
    }
    return wide;
  }

  const eval::LinearProblem& problem_;
  const Primitive primitive_;
  const int64_t most_copies_;
  const int threads_;
  const Type type_;  // of the weight and of x in the product
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::vector<AlignedMemory> owned_;
  std::vector<Memory> weights_;
  AlignedMemory converted_;
  Memory given_, x_, result_;  // x in fp32, x as it is multiplied, y
  dnnl::reorder convert_;
  dnnl::matmul product_;
  std::vector<float> y_;  // [rows, outputs]
  int64_t used_ = 0;      // copies that a round goes through
  std::string kernel_;
  double create_s_ = 0;
};

// What the library says to f16 weights beside x in f32, and beside x in f16; empty: it takes them.
inline std::string f16_refusal(OnednnProduct::Type x) {
  using Product = OnednnProduct;
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  try {
    describe(engine, {{64, 576}, x, Product::Tag::ab},
             {{576, 1536}, Product::Type::f16, Product::Tag::any},
             {{64, 1536}, Product::Type::f32, Product::Tag::ab});
    return {};
  } catch (const dnnl::error& e) {
    return e.what();
  }
}

}  // namespace heed::bench
