// Every number of an adapter's and a control vector's file, broken, through every way of reading:
// a verdict that speaks, on which the ways agree, and no more heap than the file allows.
#include <gtest/gtest.h>

#include "field_damage.h"
#include "heap_counters.h"
#include "heed/adapters.h"
#include "model/adapter.h"
#include "model/model_impl.h"
#include "tiny_adapter.h"

namespace heed {
namespace {

std::shared_ptr<Model> load_model(const tiny::Spec& spec) {
  const tiny::TemporaryFile file(spec);
  ModelOptions options;
  options.threads = 1;
  options.map = false;  // the file goes away
  auto model = Model::load(file.path(), options);
  EXPECT_TRUE(model.is_ok()) << model.message();
  return model.is_ok() ? *model : nullptr;
}

// Files grow by at most four times their size and a MiB while they are read.
template <class Read>
Status metered(size_t size, const std::string& what, const Read& read) {
  const test::PeakMeter peak;
  const Status status = read();
  EXPECT_LE(peak.bytes(), static_cast<int64_t>(4 * size + (size_t{1} << 20))) << what;
  EXPECT_EQ(status.is_ok(), status.message().empty()) << what;
  EXPECT_NE(status.code(), Code::kInternal) << what << ": " << status.message();
  return status;
}

TEST(AdapterMalformed, every_field_times_every_damage_is_read_or_refused_by_every_reader) {
  const auto model = load_model({});
  ASSERT_NE(model, nullptr);
  tiny::File good = tiny::adapter_keys("llama", 8);
  tiny::add_pair(good, "blk.0.attn_q.weight", 64, 64, {});
  tiny::add_pair(good, "token_embd.weight", 64, 80, {});
  const auto from_memory = [&](const std::vector<uint8_t>& bytes) -> Status {
    HEED_ASSIGN(const auto file, GgufFile::from_bytes(bytes, "memory"));
    return LoraAdapter::make(*file, *model->impl().file, *model->impl().hyper, {}, true).status();
  };
  const tiny::TemporaryFile file(good);
  int kinds = 0, refused = 0;
  test::for_each_damage(good.encode(), [&](const std::vector<uint8_t>& bytes,
                                           const std::string& what) {
    file.rewrite(bytes);
    const size_t n = bytes.size();
    const Status memory = metered(n, what, [&] { return from_memory(bytes); });
    const Status read = metered(n, what, [&] { return load_lora(*model, file.path()).status(); });
    EXPECT_EQ(read.code(), memory.code()) << what << ": " << read.message();
    // Mapped, and without a model: it may know less, and refuses nothing that a model would take.
    const Status mapped = metered(n, what, [&] { return inspect_adapter(file.path()).status(); });
    EXPECT_TRUE(mapped.is_ok() || !memory.is_ok()) << what << ": " << mapped.message();
    ++kinds;
    refused += memory.is_ok() ? 0 : 1;
  });
  EXPECT_GT(kinds, 250);
  EXPECT_GT(refused, kinds / 2);
}

TEST(ControlVectorMalformed, every_field_times_every_damage_is_read_or_refused) {
  tiny::Spec spec;
  spec.layers = 3;
  const auto model = load_model(spec);
  ASSERT_NE(model, nullptr);
  const tiny::Writer good = tiny::make_control(spec, tiny::directions(spec, 1)).encode();
  const tiny::TemporaryFile file(good.bytes);
  const ScaledFile files[] = {{file.path(), 1}};
  int kinds = 0, refused = 0;
  test::for_each_damage(good, [&](const std::vector<uint8_t>& bytes, const std::string& what) {
    file.rewrite(bytes);
    const Status status =
        metered(bytes.size(), what, [&] { return load_control_vector(*model, files).status(); });
    ++kinds;
    refused += status.is_ok() ? 0 : 1;
  });
  EXPECT_GT(kinds, 150);
  EXPECT_GT(refused, kinds / 2);
}

}  // namespace
}  // namespace heed
