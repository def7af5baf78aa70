// The mechanisms that look at positions alone, each at several settings with its formula.
#pragma once

#include <string>
#include <vector>

#include "base/text.h"
#include "mechanisms/a_shape/a_shape.h"
#include "mechanisms/a_shape/reference.h"
#include "mechanisms/block_sparse_flash/block_sparse_flash.h"
#include "mechanisms/block_sparse_flash/reference.h"
#include "mechanisms/dense/dense.h"
#include "mechanisms/dense/reference.h"
#include "mechanisms/tri_shape/reference.h"
#include "mechanisms/tri_shape/tri_shape.h"
#include "prefill_problem.h"

namespace heed::test {

struct Setting {
  std::string text;
  std::shared_ptr<const PrefillSelector> selector;
  std::function<bool(int64_t prompt_end, int head, int64_t query, int64_t key)> formula;

  Formula of(const PrefillProblem& problem) const {
    return [this, end = problem.prompt_end()](int head, int64_t query, int64_t key) {
      return formula(end, head, query, key);
    };
  }
};

inline Setting dense() {
  return {"dense", make_dense(), [](int64_t, int, int64_t query, int64_t key) {
            return reference::dense_visible(query, key);
          }};
}

inline Setting a_shape(AShapeParams p) {
  return {cat("a_shape:", p.n_init, ",", p.n_local), std::move(*make_a_shape(p)),
          [p](int64_t, int, int64_t query, int64_t key) {
            return reference::a_shape_visible(p, query, key);
          }};
}

inline Setting tri_shape(TriShapeParams p) {
  return {cat("tri_shape:", p.n_init, ",", p.n_local, ",", p.n_last), std::move(*make_tri_shape(p)),
          [p](int64_t end, int, int64_t query, int64_t key) {
            return reference::tri_shape_visible(p, end, query, key);
          }};
}

inline Setting block_mask(const std::string& text) {
  auto mask = BlockMask::parse(text, "mask");
  EXPECT_TRUE(mask.is_ok()) << mask.message();
  return {cat("block_sparse_flash ", text), make_block_sparse_flash(*mask),
          [mask = *mask](int64_t, int head, int64_t query, int64_t key) {
            return reference::block_sparse_flash_visible(mask, head, query, key);
          }};
}

inline std::vector<Setting> settings() {
  return {dense(),
          a_shape({4, 30}),
          a_shape({0, 1}),
          a_shape({128, 128}),
          a_shape({70, 0}),
          a_shape({1, 65}),
          tri_shape({4, 30, 10}),
          tri_shape({16, 64, 0}),
          tri_shape({0, 90, 77}),
          tri_shape({100, 5, 5000}),
          block_mask("heed-block-mask 1\nblock 64 64\n0: 0\n1: 0-1\n2: 0 2\n3-9: 0 2-3 5\n"),
          block_mask("heed-block-mask 1\nblock 32 48\nrest all\n1: 0\n3: 1-2\n4: 0 3\n"),
          block_mask("heed-block-mask 1\nblock 100 7\nheads 0\n0-5: 0-40\nheads 1,2\n"
                     "0-3: 0-2 9 11-30\n2: 1\nheads all\n1: 60-70\n")};
}

}  // namespace heed::test
