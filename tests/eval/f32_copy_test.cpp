// The F32 copy holds what the stored weights dequantise to, and leaves nothing behind.
#include "eval/f32_copy.h"

#include <ggml.h>
#include <gguf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>

#include "split_files.h"
#include "tiny_gguf.h"

namespace heed::eval {
namespace {

struct Contents {
  std::map<std::string, std::vector<float>> tensors;  // all as floats
  std::map<std::string, ggml_type> types;
  std::vector<std::string> keys;
};

Contents read_all(const std::string& path) {
  Contents contents;
  ggml_context* data = nullptr;
  gguf_context* file = gguf_init_from_file(path.c_str(), {.no_alloc = false, .ctx = &data});
  if (file == nullptr) return contents;
  for (int64_t i = 0; i < gguf_get_n_kv(file); ++i) contents.keys.push_back(gguf_get_key(file, i));
  for (int64_t i = 0; i < gguf_get_n_tensors(file); ++i) {
    const std::string name = gguf_get_tensor_name(file, i);
    const ggml_tensor* tensor = ggml_get_tensor(data, name.c_str());
    auto& values = contents.tensors[name];
    values.resize(static_cast<size_t>(ggml_nelements(tensor)));
    if (tensor->type == GGML_TYPE_F32) {
      std::memcpy(values.data(), tensor->data, ggml_nbytes(tensor));
    } else {
      ggml_get_type_traits(tensor->type)
          ->to_float(tensor->data, values.data(), ggml_nelements(tensor));
    }
    contents.types[name] = tensor->type;
  }
  ggml_free(data);
  gguf_free(file);
  return contents;
}

// A tiny model whose matrices are stored in `type`.
tiny::File quantised_file(ggml_type type) {
  tiny::File file = tiny::make_file({.arch = "llama", .layers = 2, .text_vocabulary = false});
  for (tiny::Tensor& tensor : file.tensors) {
    const auto row = static_cast<int64_t>(tensor.ne[0]);
    if (tensor.ne.size() < 2 || row % ggml_blck_size(type) != 0) continue;
    const auto rows = static_cast<int64_t>(tensor.ne[1]);
    std::vector<uint8_t> packed(ggml_row_size(type, row) * static_cast<size_t>(rows));
    ggml_quantize_chunk(type, reinterpret_cast<const float*>(tensor.data.data()), packed.data(), 0,
                        rows, row, nullptr);
    tensor.type = type;
    tensor.data = std::move(packed);
  }
  return file;
}

TEST(F32Copy, weights_equal_the_dequantised_ones_bit_for_bit) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q4_0,
                               GGML_TYPE_Q4_1, GGML_TYPE_Q8_0}) {
    const tiny::TemporaryFile file(quantised_file(type));
    const auto copy = F32Copy::make(file.path(), {});
    ASSERT_TRUE(copy.is_ok()) << copy.message();
    const Contents before = read_all(file.path()), after = read_all(copy->path());
    ASSERT_FALSE(before.tensors.empty());
    int converted = 0;
    for (const auto& [name, values] : before.tensors) {
      EXPECT_EQ(after.types.at(name), GGML_TYPE_F32) << name;
      converted += before.types.at(name) == type;
      ASSERT_EQ(after.tensors.at(name).size(), values.size()) << name;
      EXPECT_EQ(0, std::memcmp(after.tensors.at(name).data(), values.data(), values.size() * 4))
          << ggml_type_name(type) << " " << name;
    }
    EXPECT_GT(converted, 4) << ggml_type_name(type);
    for (const std::string& key : before.keys) {
      EXPECT_NE(std::find(after.keys.begin(), after.keys.end(), key), after.keys.end()) << key;
    }
  }
}

TEST(F32Copy, a_file_with_an_alignment_of_its_own_is_copied_too) {
  for (const uint32_t alignment : {8u, 64u}) {
    tiny::File source = quantised_file(GGML_TYPE_Q8_0);
    source.alignment = alignment;
    source.set(tiny::u32_key("general.alignment", alignment));
    const tiny::TemporaryFile file(source);
    const auto copy = F32Copy::make(file.path(), {});
    ASSERT_TRUE(copy.is_ok()) << copy.message();
    const Contents before = read_all(file.path()), after = read_all(copy->path());
    ASSERT_FALSE(before.tensors.empty()) << alignment;
    EXPECT_EQ(after.tensors, before.tensors) << alignment;
  }
}

TEST(F32Copy, a_model_in_parts_becomes_the_file_that_it_was_split_from) {
  const tiny::File whole = quantised_file(GGML_TYPE_Q8_0);
  const tiny::TemporaryFile file(whole);
  const auto expected = F32Copy::make(file.path(), {});
  ASSERT_TRUE(expected.is_ok()) << expected.message();
  const tiny::SplitFiles split(whole, 3);
  for (const int part : {1, 3}) {
    const auto copy = F32Copy::make(split.path(part), {});
    ASSERT_TRUE(copy.is_ok()) << copy.message();
    const Contents before = read_all(expected->path()), after = read_all(copy->path());
    ASSERT_FALSE(before.tensors.empty());
    EXPECT_EQ(after.tensors, before.tensors) << part;
    EXPECT_EQ(after.keys, before.keys) << part;
    EXPECT_TRUE(Model::load(copy->path(), {}).is_ok()) << part;
  }
}

TEST(F32Copy, a_file_that_the_model_reader_refuses_is_refused_with_its_reason) {
  tiny::File odd = quantised_file(GGML_TYPE_Q8_0);
  odd.set(tiny::u32_key("llama.attention.new_mathematics", 1));
  const tiny::TemporaryFile file(odd);
  const auto copy = F32Copy::make(file.path(), {});
  EXPECT_EQ(copy.code(), Model::inspect(file.path()).code());
  EXPECT_NE(copy.message().find("llama.attention.new_mathematics"), std::string::npos)
      << copy.message();
}

TEST(F32Copy, has_no_name_and_is_gone_with_its_object) {
  const tiny::TemporaryFile file(quantised_file(GGML_TYPE_Q8_0));
  const auto left_behind = [] {
    int count = 0;
    for (const auto& entry :
         std::filesystem::directory_iterator(std::filesystem::temp_directory_path())) {
      count += entry.path().filename().string().starts_with("heed-f32-");
    }
    return count;
  };
  const int before = left_behind();
  std::string path;
  {
    const auto copy = F32Copy::make(file.path(), {});
    ASSERT_TRUE(copy.is_ok()) << copy.message();
    path = copy->path();
    EXPECT_EQ(left_behind(), before);  // even while it is in use
    EXPECT_FALSE(read_all(path).tensors.empty());
  }
  EXPECT_TRUE(read_all(path).tensors.empty());
}

TEST(F32Copy, a_cancel_ends_it) {
  const tiny::TemporaryFile file(quantised_file(GGML_TYPE_Q8_0));
  CancelToken cancel;
  cancel.cancel();
  F32Copy::Options options;
  options.cancel = &cancel;
  EXPECT_EQ(F32Copy::make(file.path(), options).code(), Code::kCancelled);
}

TEST(F32Copy, files_that_cannot_be_copied_say_why) {
  EXPECT_FALSE(F32Copy::make("/nonexistent.gguf", {}).is_ok());
  // The header promises tensors that the file does not hold.
  auto bytes = quantised_file(GGML_TYPE_Q8_0).encode().bytes;
  bytes.resize(bytes.size() - 4096);
  const tiny::TemporaryFile cut(bytes);
  EXPECT_FALSE(F32Copy::make(cut.path(), {}).is_ok());
}

}  // namespace
}  // namespace heed::eval
