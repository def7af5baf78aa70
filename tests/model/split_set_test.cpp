// Models in parts: what is joined, and every way in which a set can be wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "heed/engine.h"
#include "model/file_hash.h"
#include "model/pull.h"
#include "model/sha256.h"
#include "model/split_set.h"
#include "model/weight_uses.h"
#include "model_home.h"
#include "split_files.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

using tiny::File;
using tiny::SplitFiles;

File whole_file() { return tiny::make_file(tiny::small_spec()); }

std::string bytes_of(const std::string& path) { return ModelHome::read(path); }

TEST(SplitSet, names_are_taken_apart_and_made_again) {
  const auto name = split_name("a/b-00002-of-00013.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->stem, "a/b");
  EXPECT_EQ(name->part, 2);
  EXPECT_EQ(name->parts, 13);
  EXPECT_EQ(name->path_of(13), "a/b-00013-of-00013.gguf");
  for (const char* other : {"b.gguf", "b-00000-of-00002.gguf", "b-00003-of-00002.gguf",
                            "b-0001-of-00002.gguf", "b-00001-of-0002x.gguf", "-00001-of-00002.gguf",
                            "b-00001-of-00002", "b-+0001-of-00002.gguf", "b_00001-of-00002.gguf",
                            "b-00001_of_00002.gguf", "", "b-00001-of-00000.gguf"}) {
    EXPECT_FALSE(split_name(other).has_value()) << other;
  }
}

TEST(SplitSet, every_part_names_the_whole_model) {
  const File whole = whole_file();
  for (const int count : {2, 3, 7}) {
    const SplitFiles set(whole, count);
    for (int number = 1; number <= count; ++number) {
      for (const FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
        const auto file = open_model_file(set.path(number), access);
        ASSERT_TRUE(file.is_ok()) << file.message();
        EXPECT_EQ((*file)->path(), set.path(1));
        EXPECT_EQ((*file)->mapped(), access == FileAccess::kMap);
        ASSERT_EQ((*file)->paths().size(), static_cast<size_t>(count));
        EXPECT_EQ((*file)->paths().back(), set.path(count));
        ASSERT_EQ((*file)->tensors().size(), whole.tensors.size());
        uint64_t size = 0;
        for (int i = 1; i <= count; ++i) size += fs::file_size(set.path(i));
        EXPECT_EQ((*file)->size(), size);
        for (const tiny::Tensor& expected : whole.tensors) {
          const GgufTensor* tensor = (*file)->find_tensor(expected.name);
          ASSERT_NE(tensor, nullptr) << expected.name;
          ASSERT_EQ(tensor->bytes, expected.data.size());
          EXPECT_EQ(std::memcmp(GgufFile::data(*tensor), expected.data.data(), tensor->bytes), 0);
        }
      }
    }
  }
}

TEST(SplitSet, a_first_part_may_hold_keys_alone) {
  SplitFiles set(whole_file(), 2);
  auto& tensors = set.parts[0].tensors;
  set.parts[1].tensors.insert(set.parts[1].tensors.begin(), tensors.begin(), tensors.end());
  tensors.clear();
  set.write();
  EXPECT_TRUE(Model::load(set.path(1), {}).is_ok()) << Model::load(set.path(1), {}).message();
}

TEST(SplitSet, a_count_of_one_is_a_file_like_any_other) {
  for (const uint16_t count : {0, 1}) {
    File file = whole_file();
    file.set(tiny::scalar_key<uint16_t>("split.count", tiny::kU16, count));
    const tiny::TemporaryFile single(file);
    EXPECT_TRUE(open_model_file(single.path()).is_ok());
  }
}

TEST(SplitSet, inspection_weights_and_hash_are_of_all_parts) {
  const File whole = whole_file();
  const tiny::TemporaryFile single(whole);
  const SplitFiles set(whole, 3);
  const auto info = Model::inspect(set.path(2));
  ASSERT_TRUE(info.is_ok()) << info.message();
  EXPECT_EQ(info->parameters, Model::inspect(single.path())->parameters);
  EXPECT_EQ(info->path, set.path(1));
  const auto uses = list_weight_uses(set.path(3), {});
  ASSERT_TRUE(uses.is_ok()) << uses.message();
  EXPECT_EQ(uses->weights.size(), list_weight_uses(single.path(), {})->weights.size());
  const std::string all = bytes_of(set.path(1)) + bytes_of(set.path(2)) + bytes_of(set.path(3));
  EXPECT_EQ(*model_sha256(set.path(2), nullptr), sha256_hex(all));
  EXPECT_EQ(*model_sha256(single.path(), nullptr), sha256_hex(bytes_of(single.path())));
}

// --- sets that are wrong
// ---------------------------------------------------------------------------

struct Wrong {
  const char* name;
  std::function<void(SplitFiles&)> make;  // of three parts
  int asked;                              // the part that is opened
  int named;                              // the part that the message names
  Code code;
  const char* way_out;
};

void PrintTo(const Wrong& wrong, std::ostream* out) { *out << wrong.name; }

const Wrong kWrong[] = {
    {"a_middle_part_is_missing", [](SplitFiles& s) { fs::remove(s.path(2)); }, 1, 2,
     Code::kNotFound, "into one folder"},
    {"the_first_part_is_missing", [](SplitFiles& s) { fs::remove(s.path(1)); }, 3, 1,
     Code::kNotFound, "into one folder"},
    {"parts_have_changed_places",
     [](SplitFiles& s) {
       s.write(2, s.parts[2].encode().bytes);
       s.write(3, s.parts[1].encode().bytes);
     },
     1, 2, Code::kInvalidArgument, "tiny-00003-of-00003.gguf"},
    {"the_opened_part_has_a_wrong_place",
     [](SplitFiles& s) { s.write(3, s.parts[1].encode().bytes); }, 3, 3, Code::kInvalidArgument,
     "tiny-00002-of-00003.gguf"},
    {"a_part_is_there_twice", [](SplitFiles& s) { s.write(3, s.parts[1].encode().bytes); }, 1, 3,
     Code::kInvalidArgument, "tiny-00002-of-00003.gguf"},
    {"a_part_is_of_a_larger_set",
     [](SplitFiles& s) {
       s.parts[1].set(tiny::scalar_key<uint16_t>("split.count", tiny::kU16, 4));
       s.write();
     },
     1, 2, Code::kCorrupt, "download the set again"},
    {"a_part_is_of_a_set_with_other_tensors",
     [](SplitFiles& s) {
       s.parts[2].set(tiny::scalar_key<int32_t>("split.tensors.count", tiny::kI32, 5));
       s.write();
     },
     1, 3, Code::kCorrupt, "download the set again"},
    {"a_part_has_keys_of_another_model",
     [](SplitFiles& s) {
       s.parts[1].set(tiny::text_key("general.architecture", "qwen2"));
       s.write();
     },
     1, 2, Code::kCorrupt, "download the set again"},
    {"a_part_has_a_key_that_would_be_overlooked",
     [](SplitFiles& s) {
       s.parts[2].set(tiny::f32_key("llama.rope.freq_base_swa", 5));
       s.write();
     },
     1, 3, Code::kCorrupt, "download the set again"},
    {"a_tensor_is_in_two_parts",
     [](SplitFiles& s) {
       s.parts[1].tensors.back() = s.parts[0].tensors.front();
       s.write();
     },
     1, 2, Code::kCorrupt, "download the set again"},
    {"a_part_lacks_a_tensor",
     [](SplitFiles& s) {
       s.parts[2].tensors.pop_back();
       s.write();
     },
     1, 1, Code::kCorrupt, "download the set again"},
    {"a_part_is_no_part",
     [](SplitFiles& s) {
       s.parts[1].erase("split.no");
       s.parts[1].erase("split.count");
       s.write();
     },
     1, 2, Code::kCorrupt, "download the set again"},
    {"a_part_has_no_tensor_count",
     [](SplitFiles& s) {
       s.parts[1].erase("split.tensors.count");
       s.write();
     },
     1, 2, Code::kCorrupt, "split.tensors.count"},
    {"a_number_is_behind_the_count",
     [](SplitFiles& s) {
       s.parts[0].set(tiny::scalar_key<uint16_t>("split.no", tiny::kU16, 3));
       s.write();
     },
     1, 1, Code::kCorrupt, "split.no"},
    {"a_count_is_no_count",
     [](SplitFiles& s) {
       s.parts[0].set(tiny::u32_key("split.count", 0x7FFFFFFF));
       s.write();
     },
     1, 1, Code::kCorrupt, "split.count"},
    {"a_part_is_empty", [](SplitFiles& s) { s.write(2, {}); }, 1, 2, Code::kCorrupt, "empty"},
    {"a_part_is_no_gguf", [](SplitFiles& s) { s.write(2, std::vector<uint8_t>(64, 7)); }, 1, 2,
     Code::kInvalidArgument, "GGUF"},
};

class WrongSet : public testing::TestWithParam<Wrong> {};

TEST_P(WrongSet, is_refused_with_the_file_and_the_way_out) {
  SplitFiles set(whole_file(), 3);
  GetParam().make(set);
  for (const FileAccess access : {FileAccess::kMap, FileAccess::kRead}) {
    const auto file = open_model_file(set.path(GetParam().asked), access);
    EXPECT_EQ(file.code(), GetParam().code) << file.message();
    EXPECT_NE(file.message().find(set.path(GetParam().named)), std::string::npos) << file.message();
    EXPECT_NE(file.message().find(GetParam().way_out), std::string::npos) << file.message();
  }
  EXPECT_FALSE(Model::load(set.path(GetParam().asked), {}).is_ok());
}

INSTANTIATE_TEST_SUITE_P(SplitSet, WrongSet, testing::ValuesIn(kWrong),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SplitSet, a_part_under_a_name_that_is_no_part_says_its_right_name) {
  const SplitFiles set(whole_file(), 2);
  const std::string renamed = fs::path(set.path(1)).parent_path() / "model.gguf";
  fs::rename(set.path(1), renamed);
  const auto file = open_model_file(renamed);
  EXPECT_EQ(file.code(), Code::kInvalidArgument);
  EXPECT_NE(file.message().find("model-00001-of-00002.gguf"), std::string::npos) << file.message();
}

TEST(SplitSet, a_part_that_ends_anywhere_is_refused_by_its_name) {
  const SplitFiles set(whole_file(), 2);
  for (const int number : {1, 2}) {
    const std::vector<uint8_t> bytes = set.parts[static_cast<size_t>(number) - 1].encode().bytes;
    // The padding behind the last tensor is not needed.
    for (size_t size = 0; size + 32 < bytes.size(); size += size < 2048 ? 1 : 61) {
      set.write(static_cast<size_t>(number),
                {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
      const auto file = open_model_file(set.path(1));
      ASSERT_EQ(file.code(), Code::kCorrupt) << size << " " << file.message();
      ASSERT_NE(file.message().find(set.path(number)), std::string::npos) << file.message();
    }
    set.write();
  }
  EXPECT_TRUE(open_model_file(set.path(1)).is_ok());
}

TEST(SplitSet, a_part_that_changes_after_the_load_stops_the_next_step) {
  const SplitFiles set(whole_file(), 3);
  const auto model = Model::load(set.path(1), {});
  ASSERT_TRUE(model.is_ok()) << model.message();
  const auto engine = Engine::create(*model, {});
  ASSERT_TRUE(engine.is_ok()) << engine.message();
  const auto seq = (*engine)->create_sequence();
  const std::vector<Token> tokens = {1, 2, 3};
  ASSERT_TRUE((*engine)->prefill(*seq, tokens).is_ok());
  std::ofstream(set.path(3), std::ios::binary | std::ios::app) << "more";
  const Status status = (*engine)->prefill(*seq, tokens);
  EXPECT_EQ(status.code(), Code::kCorrupt);
  EXPECT_NE(status.message().find(set.path(3)), std::string::npos) << status.message();
}

// --- in $HEED_HOME/models
// --------------------------------------------------------------------------

TEST(SplitSet, a_set_in_the_models_folder_is_one_model) {
  const ModelHome home;
  const SplitFiles set(whole_file(), 3);
  std::string all;
  for (int i = 1; i <= 3; ++i) {
    const std::string bytes = bytes_of(set.path(i));
    home.write("models/" + fs::path(set.path(i)).filename().string(), bytes);
    all += bytes;
  }
  const fs::path first = home.path("models") / fs::path(set.path(1)).filename();
  const fs::path second = home.path("models") / fs::path(set.path(2)).filename();
  EXPECT_EQ(*resolve_model("tiny-00003-of-00003.gguf"), first);
  EXPECT_EQ(*resolve_model(second.string()), first);
  const auto sets = [] {
    std::vector<StoredModel> found;
    const auto list = list_models();
    for (const StoredModel& item : *list) {
      if (!item.catalogued) found.push_back(item);
    }
    return found;
  };
  ASSERT_EQ(sets().size(), 1U);
  EXPECT_EQ(sets()[0].name, "tiny-00001-of-00003.gguf");
  EXPECT_EQ(sets()[0].bytes, all.size());
  EXPECT_TRUE(sets()[0].installed);
  EXPECT_EQ(sets()[0].about, "3 parts");
  const auto kept = bytes_of(second);
  fs::remove(second);
  ASSERT_EQ(sets().size(), 1U);
  EXPECT_FALSE(sets()[0].installed);
  home.write("models/" + second.filename().string(), kept);
  EXPECT_EQ(*remove_model("tiny-00002-of-00003.gguf"), all.size());
  EXPECT_TRUE(sets().empty());
}

TEST(SplitSet, a_file_that_only_looks_like_a_part_is_taken_as_it_is) {
  const ModelHome home;
  const std::string bytes(reinterpret_cast<const char*>(whole_file().encode().bytes.data()), 64);
  home.write("x-00001-of-00002.gguf", bytes);
  home.write("x-00002-of-00002.gguf", bytes);
  const std::string second = home.path("x-00002-of-00002.gguf");
  EXPECT_EQ(*resolve_model(second), second);
}

}  // namespace
}  // namespace heed
