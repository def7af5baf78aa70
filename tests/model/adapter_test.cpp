// Files of adapters and control vectors: what is wrong with one is said by name, and nothing that
// it holds ends the program.
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "heed/adapters.h"
#include "model/adapter.h"
#include "model/model_impl.h"
#include "tiny_adapter.h"

namespace heed {
namespace {

using tiny::File;

std::shared_ptr<Model> load_model(const tiny::Spec& spec) {
  const tiny::TemporaryFile file(spec);
  ModelOptions options;
  options.threads = 1;
  options.map = false;  // the file goes away
  auto model = Model::load(file.path(), options);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

struct Fault {
  const char* name;
  std::function<void(File&)> edit;
  Code code;
  const char* says;
};

void set_float(tiny::Tensor& tensor, size_t at, float value) {
  std::memcpy(tensor.data.data() + at * sizeof(float), &value, sizeof(value));
}

constexpr const char* kQ = "blk.0.attn_q.weight";

File named(const File& from, const char* name) {
  File file = from;
  for (tiny::Tensor& t : file.tensors) t.name = name + t.name.substr(t.name.size() - 7);
  return file;
}

TEST(Adapter, malformed_files_are_refused_with_the_reason) {
  const tiny::Spec spec;
  const auto model = load_model(spec);
  ASSERT_NE(model, nullptr);
  File good = tiny::adapter_keys("llama", 8);
  tiny::add_pair(good, kQ, 64, 64, {});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const Fault faults[] = {
      {"a model", [](File& f) { f.set(tiny::text_key("general.type", "model")); },
       Code::kUnsupported, "goes behind -m"},
      {"no type", [](File& f) { f.erase("general.type"); }, Code::kUnsupported, "general.type"},
      {"type is a number", [](File& f) { f.set(tiny::u32_key("general.type", 1)); }, Code::kCorrupt,
       "general.type"},
      {"another kind", [](File& f) { f.set(tiny::text_key("adapter.type", "dora")); },
       Code::kUnsupported, "'dora'"},
      {"no kind", [](File& f) { f.erase("adapter.type"); }, Code::kCorrupt, "adapter.type"},
      {"another architecture",
       [](File& f) { f.set(tiny::text_key("general.architecture", "qwen2")); }, Code::kUnsupported,
       "'qwen2', the model is 'llama'"},
      {"no architecture", [](File& f) { f.erase("general.architecture"); }, Code::kCorrupt,
       "general.architecture"},
      {"alpha is NaN", [&](File& f) { f.set(tiny::f32_key("adapter.lora.alpha", nan)); },
       Code::kCorrupt, "adapter.lora.alpha"},
      {"alpha is a text", [](File& f) { f.set(tiny::text_key("adapter.lora.alpha", "8")); },
       Code::kCorrupt, "adapter.lora.alpha"},
      {"a key that is not known", [](File& f) { f.set(tiny::f32_key("adapter.lora.alfa", 8)); },
       Code::kUnsupported, "'adapter.lora.alpha'"},
      {"works behind certain tokens",
       [](File& f) {
         f.set(tiny::array_key("adapter.alora.invocation_tokens", tiny::kU32,
                               std::vector<uint32_t>{1, 2}));
       },
       Code::kUnsupported, "certain tokens"},
      {"no factors", [](File& f) { f.tensors.clear(); }, Code::kCorrupt, "no factors"},
      {"no b", [](File& f) { f.tensors.pop_back(); }, Code::kCorrupt,
       "'blk.0.attn_q.weight.lora_b' is missing"},
      {"no a", [](File& f) { f.tensors.erase(f.tensors.begin()); }, Code::kCorrupt,
       "'blk.0.attn_q.weight.lora_a' is missing"},
      {"ranks differ",
       [](File& f) {
         f.tensors[1].ne[0] = 8;
         f.tensors[1].ne[1] = 32;
       },
       Code::kCorrupt, "ranks 4 and 8 differ"},
      {"not transposed", [](File& f) { std::swap(f.tensors[0].ne[0], f.tensors[0].ne[1]); },
       Code::kCorrupt, "differ"},
      {"inputs of another model",
       [](File& f) { f.tensors[0] = tiny::factor(f.tensors[0].name, 96, 4, 1, 1, GGML_TYPE_F32); },
       Code::kCorrupt, "belong to a matrix of 96 x 64, the model's has 64 x 64"},
      {"outputs of another model",
       [](File& f) { f.tensors[1] = tiny::factor(f.tensors[1].name, 4, 65, 1, 1, GGML_TYPE_F32); },
       Code::kCorrupt, "64 x 65"},
      {"no such tensor", [](File& f) { f = named(f, "blk.0.attn_qq.weight"); }, Code::kUnsupported,
       "the nearest is 'blk.0.attn_q.weight'"},
      {"no such layer", [](File& f) { f = named(f, "blk.2.attn_q.weight"); }, Code::kUnsupported,
       "no tensor of the model"},
      {"a norm", [](File& f) { f = named(f, "blk.0.attn_norm.weight"); }, Code::kCorrupt,
       "attn_norm"},
      {"a norm replaced",
       [](File& f) {
         f.tensors.push_back(tiny::factor("blk.0.attn_norm.weight", 64, 1, 1, 1, GGML_TYPE_F32));
       },
       Code::kUnsupported, "replaces norms"},
      {"a tensor of another name",
       [](File& f) { f.tensors.push_back(tiny::factor("x", 64, 1, 1, 1, GGML_TYPE_F32)); },
       Code::kUnsupported, "'x' is no factor"},
      {"factors of experts",
       [](File& f) {
         f.tensors[0].ne = {64, 2, 2};
       },
       Code::kUnsupported, "experts"},
      {"whole numbers",
       [](File& f) {
         f.tensors[0].type = 26;  // I32
       },
       Code::kUnsupported, "has type i32"},
      {"a is NaN", [&](File& f) { set_float(f.tensors[0], 70, nan); }, Code::kCorrupt,
       "lora_a' holds nan at element 6"},
      {"b is infinite", [&](File& f) { set_float(f.tensors[1], 3, -inf); }, Code::kCorrupt,
       "lora_b' holds -inf"},
  };
  const tiny::TemporaryFile file(good);
  ASSERT_TRUE(load_lora(*model, file.path()).is_ok());
  for (const Fault& fault : faults) {
    File bad = good;
    fault.edit(bad);
    file.rewrite(bad.encode().bytes);
    const auto lora = load_lora(*model, file.path());
    EXPECT_EQ(lora.code(), fault.code) << fault.name << ": " << lora.message();
    EXPECT_NE(lora.message().find(fault.says), std::string::npos)
        << fault.name << ": " << lora.message();
    EXPECT_NE(lora.message().find(file.path()), std::string::npos) << lora.message();
  }
  EXPECT_EQ(load_lora(*model, "/no/such/file.gguf").code(), Code::kNotFound);
}

TEST(Adapter, parts_of_a_fused_tensor_are_adapted_only_together) {
  tiny::Spec spec;
  spec.arch = "phi3";
  spec.fused_qkv = true;
  const auto model = load_model(spec);
  File apart = tiny::adapter_keys("phi3", 8);
  tiny::add_pair(apart, kQ, 64, 64, {});
  const tiny::TemporaryFile file(apart);
  const auto refused = load_lora(*model, file.path());
  EXPECT_EQ(refused.code(), Code::kUnsupported) << refused.message();
  EXPECT_NE(refused.message().find("no tensor of the model"), std::string::npos);
  const tiny::TemporaryFile whole(tiny::make_adapter(spec, {}));
  EXPECT_TRUE(load_lora(*model, whole.path()).is_ok());
}

TEST(Adapter, matrices_of_experts_are_refused_by_name) {
  const tiny::Spec spec = tiny::expert_spec("qwen3moe");
  const auto model = load_model(spec);
  File adapter = tiny::adapter_keys("qwen3moe", 8);
  tiny::add_pair(adapter, "blk.0.ffn_up_exps.weight", 64, 96, {});
  const tiny::TemporaryFile file(adapter);
  const auto refused = load_lora(*model, file.path());
  EXPECT_EQ(refused.code(), Code::kUnsupported) << refused.message();
  EXPECT_NE(refused.message().find("blk.0.ffn_up_exps.weight"), std::string::npos)
      << refused.message();
}

// Without a file in between.
Status read_bytes(const Model& model, std::span<const uint8_t> bytes) {
  const auto file = GgufFile::from_bytes(bytes, "adapter");
  if (!file.is_ok()) return file.status();
  return LoraAdapter::make(**file, *model.impl().file, *model.impl().hyper, {}, true).status();
}

TEST(Adapter, a_file_cut_anywhere_is_refused) {
  const auto model = load_model({});
  File good = tiny::adapter_keys("llama", 8);
  tiny::add_pair(good, kQ, 64, 64, {.rank = 1});
  const std::vector<uint8_t> bytes = good.encode().bytes;
  ASSERT_TRUE(read_bytes(*model, bytes).is_ok());
  for (size_t n = 0; n < bytes.size(); ++n) {
    const Status status = read_bytes(*model, {bytes.data(), n});
    ASSERT_FALSE(status.is_ok()) << n;
    ASSERT_FALSE(status.message().empty()) << n;
  }
  const tiny::TemporaryFile file({bytes.begin(), bytes.end() - 1});
  EXPECT_FALSE(load_lora(*model, file.path()).is_ok());
}

TEST(Adapter, every_bit_flip_of_the_header_is_read_or_refused) {
  const auto model = load_model({});
  File good = tiny::adapter_keys("llama", 8);
  tiny::add_pair(good, kQ, 64, 64, {.rank = 1});
  tiny::Writer writer = good.encode();
  const size_t header = writer.fields.back().offset;
  int refused = 0;
  for (size_t bit = 0; bit < header * 8; ++bit) {
    writer.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    const Status status = read_bytes(*model, writer.bytes);
    refused += status.is_ok() ? 0 : 1;
    EXPECT_EQ(status.is_ok(), status.message().empty()) << bit;
    writer.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
  }
  EXPECT_GT(refused, 1000);
}

TEST(Adapter, inspection_says_what_the_file_holds) {
  tiny::Spec spec;
  const tiny::TemporaryFile file(tiny::make_adapter(spec, {.rank = 6, .alpha = 12}));
  const auto info = inspect_adapter(file.path());
  ASSERT_TRUE(info.is_ok()) << info.message();
  EXPECT_EQ(info->architecture, "llama");
  EXPECT_EQ(info->alpha, 12);
  EXPECT_EQ(info->least_rank, 6);
  EXPECT_EQ(info->most_rank, 6);
  EXPECT_EQ(info->targets, tiny::matrices_of(tiny::make_file(spec)));
  EXPECT_TRUE(*is_adapter_file(file.path()));
  const tiny::TemporaryFile base(spec);
  EXPECT_FALSE(*is_adapter_file(base.path()));
  EXPECT_EQ(inspect_adapter(base.path()).code(), Code::kUnsupported);
}

TEST(ControlVector, malformed_files_are_refused_with_the_reason) {
  tiny::Spec spec;
  spec.layers = 4;
  const auto model = load_model(spec);
  const File good = tiny::make_control(spec, tiny::directions(spec, 1));
  const Fault faults[] = {
      {"no directions", [](File& f) { f.tensors.clear(); }, Code::kCorrupt, "direction.N"},
      {"layer 0", [](File& f) { f.tensors[0].name = "direction.0"; }, Code::kUnsupported,
       "N from 1 to 3"},
      {"a layer behind the last", [](File& f) { f.tensors[0].name = "direction.4"; },
       Code::kUnsupported, "'direction.4'"},
      {"no layer", [](File& f) { f.tensors[0].name = "direction.1x"; }, Code::kUnsupported,
       "'direction.1x'"},
      {"another name", [](File& f) { f.tensors[0].name = "bearing.1"; }, Code::kUnsupported,
       "'bearing.1'"},
      {"another width",
       [](File& f) { f.tensors[1] = tiny::factor("direction.2", 32, 1, 1, 1, GGML_TYPE_F32); },
       Code::kCorrupt, "64 wide"},
      {"a matrix",
       [](File& f) { f.tensors[1] = tiny::factor("direction.2", 64, 2, 1, 1, GGML_TYPE_F32); },
       Code::kCorrupt, "64 x 2"},
      {"another type",
       [](File& f) { f.tensors[1] = tiny::factor("direction.2", 64, 1, 1, 1, GGML_TYPE_F16); },
       Code::kUnsupported, "has type f16"},
      {"not finite",
       [](File& f) { set_float(f.tensors[2], 5, std::numeric_limits<float>::infinity()); },
       Code::kCorrupt, "direction.3"},
  };
  const tiny::TemporaryFile file(good);
  const ScaledFile files[] = {{file.path(), 1}};
  ASSERT_TRUE(load_control_vector(*model, files).is_ok());
  for (const Fault& fault : faults) {
    File bad = good;
    fault.edit(bad);
    file.rewrite(bad.encode().bytes);
    const auto control = load_control_vector(*model, files);
    EXPECT_EQ(control.code(), fault.code) << fault.name << ": " << control.message();
    EXPECT_NE(control.message().find(fault.says), std::string::npos)
        << fault.name << ": " << control.message();
  }
  const std::vector<uint8_t> bytes = good.encode().bytes;
  for (size_t n = 0; n < bytes.size() - 31; ++n) {
    file.rewrite({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)});
    ASSERT_FALSE(load_control_vector(*model, files).is_ok()) << n;
  }
  file.rewrite(bytes);
  for (const LayerRange range : {LayerRange{0, 2}, LayerRange{3, 2}, LayerRange{1, 5},
                                 LayerRange{4, 0}, LayerRange{-1, -1}}) {
    EXPECT_EQ(load_control_vector(*model, files, range).code(), Code::kOutOfRange)
        << range.first << " " << range.last;
  }
  const ScaledFile wild[] = {{file.path(), std::numeric_limits<float>::quiet_NaN()}};
  EXPECT_EQ(load_control_vector(*model, wild).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace heed
