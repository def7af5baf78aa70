// Files of descriptions with experts: their numbers, their shapes, and what a listing says of them.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "gguf_readers.h"
#include "model/hyperparameters.h"
#include "model/weight_uses.h"
#include "quantized_file.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using tiny::File;

const char* const kArchitectures[] = {"qwen3moe", "gpt-oss", "deepseek2"};

Result<Hyperparameters> read(const File& file) {
  const std::vector<uint8_t> bytes = file.encode().bytes;
  HEED_ASSIGN(auto gguf, GgufFile::from_bytes(bytes, "memory"));
  return Hyperparameters::read(*gguf);
}

TEST(Experts, numbers_of_a_file_are_read) {
  for (const char* arch : kArchitectures) {
    const auto hyper = read(tiny::make_file(tiny::expert_spec(arch)));
    ASSERT_TRUE(hyper.is_ok()) << hyper.message();
    EXPECT_EQ(hyper->experts, 8);
    EXPECT_EQ(hyper->experts_used, 2);
    EXPECT_EQ(hyper->layer[0].ff, 96);
  }
}

TEST(Experts, numbers_out_of_range_are_refused_with_name_value_and_limit) {
  struct Wrong {
    const char* key;
    uint32_t value;
    const char* limit;
  };
  for (const std::string arch : kArchitectures) {
    for (const Wrong& wrong :
         {Wrong{".expert_count", 0, "1 to 1024"}, Wrong{".expert_count", 1025, "1 to 1024"},
          Wrong{".expert_used_count", 0, "1 to 8"}, Wrong{".expert_used_count", 9, "1 to 8"},
          Wrong{".expert_feed_forward_length", 0, "1 to 1048576"}}) {
      File file = tiny::make_file(tiny::expert_spec(arch));
      file.set(tiny::u32_key(arch + wrong.key, wrong.value));
      const auto result = read(file);
      ASSERT_EQ(result.code(), Code::kOutOfRange) << wrong.key << " " << result.message();
      for (const std::string& part :
           {arch + wrong.key, std::to_string(wrong.value), std::string(wrong.limit)}) {
        EXPECT_NE(result.message().find(part), std::string::npos) << result.message();
      }
    }
    for (const char* key : {".expert_count", ".expert_used_count", ".expert_feed_forward_length"}) {
      File file = tiny::make_file(tiny::expert_spec(arch));
      file.erase(arch + key);
      const auto result = read(file);
      ASSERT_FALSE(result.is_ok());
      EXPECT_NE(result.message().find(arch + key), std::string::npos) << result.message();
    }
  }
}

TEST(Experts, a_router_of_another_formula_is_refused_by_name) {
  for (const std::string arch : {"qwen3moe", "gpt-oss"}) {  // deepseek2: latent_test.cpp
    const bool qwen = arch == "qwen3moe";
    const auto code = [&](const tiny::Key& key) {
      File file = tiny::make_file(tiny::expert_spec(arch));
      file.set(key);
      const auto result = read(file);
      if (!result.is_ok()) {
        EXPECT_NE(result.message().find(key.name), std::string::npos) << result.message();
      }
      return result.code();
    };
    EXPECT_EQ(code(tiny::u32_key(arch + ".expert_gating_func", qwen ? 1 : 3)), Code::kOk);
    EXPECT_EQ(code(tiny::u32_key(arch + ".expert_gating_func", 2)), Code::kUnsupported);
    EXPECT_EQ(code(tiny::bool_key(arch + ".expert_weights_norm", true)), Code::kOk);
    EXPECT_EQ(code(tiny::bool_key(arch + ".expert_weights_norm", false)),
              qwen ? Code::kUnsupported : Code::kOk);  // shares of gpt-oss sum to 1 as they are
    EXPECT_EQ(code(tiny::f32_key(arch + ".expert_weights_scale", 1)), Code::kOk);
    EXPECT_EQ(code(tiny::f32_key(arch + ".expert_weights_scale", 2.5f)), Code::kUnsupported);
    EXPECT_EQ(code(tiny::u32_key(arch + ".expert_group_count", 2)), Code::kUnsupported);
    EXPECT_EQ(code(tiny::u32_key(arch + ".expert_shared_count", 1)), Code::kUnsupported);
  }
}

// A tensor of each kind with each dimension one larger.
TEST(Experts, shapes_that_contradict_the_numbers_are_refused_by_name) {
  for (const std::string arch : kArchitectures) {
    const File good = tiny::make_file(tiny::expert_spec(arch));
    int checked = 0;
    for (size_t i = 0; i < good.tensors.size(); ++i) {
      const std::string& name = good.tensors[i].name;
      if (name.find("blk.1.ffn_") == std::string::npos && name != "blk.1.attn_sinks.weight") {
        continue;
      }
      for (size_t d = 0; d < good.tensors[i].ne.size(); ++d) {
        const auto result = read(test::with_one_more(good, i, d));
        ASSERT_EQ(result.code(), Code::kCorrupt) << name << " " << d << " " << result.message();
        EXPECT_NE(result.message().find(name), std::string::npos) << result.message();
        ++checked;
      }
    }
    EXPECT_GE(checked, arch == "gpt-oss" ? 19 : 12);
  }
}

TEST(Experts, a_tensor_that_is_missing_is_named) {
  for (const std::string arch : kArchitectures) {
    const File good = tiny::make_file(tiny::expert_spec(arch));
    for (const tiny::Tensor& tensor : good.tensors) {
      const bool own = tensor.name.find("ffn_") != std::string::npos ||
                       tensor.name.find("sinks") != std::string::npos;
      if (!own) continue;
      File file = good;
      std::erase_if(file.tensors, [&](const tiny::Tensor& t) { return t.name == tensor.name; });
      const auto result = read(file);
      ASSERT_EQ(result.code(), Code::kCorrupt) << tensor.name;
      EXPECT_NE(result.message().find(tensor.name), std::string::npos) << result.message();
    }
  }
}

// Every number of the header, at its limits and beyond, through all ways of reading.
TEST(Experts, every_field_of_the_header_damaged_is_read_or_refused) {
  for (const char* arch : kArchitectures) {
    tiny::Spec spec = tiny::expert_spec(arch);
    spec.layers = 1;
    spec.embd = spec.ff = 32;
    spec.heads = 2;
    spec.kv_heads = 1;
    spec.dk = 16;
    spec.vocab = 16;
    spec.experts = 3;
    spec.dense_layers = 0;
    const tiny::Writer good = tiny::make_file(spec).encode();
    int refused = 0;
    for (const tiny::Field& field : good.fields) {
      if (field.size == 0 || field.size > 8) continue;
      uint64_t value = 0;
      std::memcpy(&value, good.bytes.data() + field.offset, field.size);
      for (const uint64_t wrong : {uint64_t{0}, value + 1, value - 1, value * 2, ~uint64_t{0},
                                   uint64_t{0x7FFFFFFF}, value ^ (uint64_t{1} << 63)}) {
        std::vector<uint8_t> bytes = good.bytes;
        std::memcpy(bytes.data() + field.offset, &wrong, field.size);
        const Status status = test::read_bytes(bytes);
        EXPECT_EQ(status.is_ok(), status.message().empty()) << field.name << " " << wrong;
        refused += !status.is_ok();
      }
    }
    EXPECT_GT(refused, 400) << arch;
  }
}

TEST(Experts, a_listing_has_every_tensor_with_its_experts_and_all_its_bytes) {
  tiny::Spec spec = tiny::expert_spec("gpt-oss");
  spec.experts = 5;
  const File file = tiny::quantized(tiny::make_file(spec), GGML_TYPE_MXFP4, "_exps.weight");
  const tiny::TemporaryFile stored(file);
  const auto uses = list_weight_uses(stored.path(), {});
  ASSERT_TRUE(uses.is_ok()) << uses.message();
  std::map<std::string, WeightUse> by_name;
  for (const WeightUse& use : uses->weights) by_name[use.name] = use;
  EXPECT_EQ(by_name.size(), file.tensors.size());
  const WeightUse& down = by_name["blk.2.ffn_down_exps.weight"];
  EXPECT_EQ(down.type, "MXFP4");
  EXPECT_EQ(down.inputs, 96);
  EXPECT_EQ(down.outputs, 64);
  EXPECT_EQ(down.experts, 5);
  EXPECT_EQ(down.kernel, "heed int8");
  EXPECT_EQ(down.file_bytes, 5u * 64 * 96 / 32 * 17);
  EXPECT_EQ(down.resident_bytes, 5u * 2 * 3 * 576);  // 2 groups of 3 blocks for each
  const WeightUse& bias = by_name["blk.2.ffn_up_exps.bias"];
  EXPECT_EQ(bias.inputs, 96);
  EXPECT_EQ(bias.outputs, 1);
  EXPECT_EQ(bias.experts, 5);
  EXPECT_EQ(bias.kernel, "vector");
  EXPECT_EQ(bias.resident_bytes, 5u * 96 * sizeof(float));
  EXPECT_EQ(by_name["blk.2.attn_sinks.weight"].kernel, "vector");
  EXPECT_EQ(by_name["blk.2.ffn_gate_inp.weight"].kernel, "heed fp32");
}

}  // namespace
}  // namespace heed
