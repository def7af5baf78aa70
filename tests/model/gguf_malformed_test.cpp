// Every field of a GGUF file, broken in every way that has broken a reader before, through all
// three ways of reading. Nothing may crash; what is refused is named.
#include <gtest/gtest.h>

#include <functional>

#include "field_damage.h"
#include "gguf_readers.h"
#include "tiny_gguf.h"

namespace heed {
namespace {

using test::read_bytes;
using test::read_everywhere;
using tiny::File;
using tiny::Writer;

void set_field(Writer& w, const std::string& name, uint64_t value, int occurrence = 0) {
  for (const tiny::Field& field : w.fields) {
    if (field.name != name || occurrence-- > 0) continue;
    std::memcpy(w.bytes.data() + field.offset, &value, std::min<size_t>(field.size, 8));
    return;
  }
  FAIL() << "no field " << name;
}

TEST(Gguf, reads_what_the_writer_wrote) {
  const Writer w = tiny::make_file(tiny::small_spec()).encode();
  ASSERT_TRUE(read_everywhere(w.bytes).is_ok()) << read_everywhere(w.bytes).message();
  const auto file = GgufFile::from_bytes(w.bytes, "memory");
  ASSERT_TRUE(file.is_ok());
  const auto hyper = Hyperparameters::read(**file);
  ASSERT_TRUE(hyper.is_ok());
  EXPECT_EQ(hyper->embd, 32);
  EXPECT_EQ(hyper->vocab, 16);
  EXPECT_TRUE(hyper->tied_head);
  const GgufTensor* norm = (*file)->find_tensor("output_norm.weight");
  ASSERT_NE(norm, nullptr);
  const File source = tiny::make_file(tiny::small_spec());
  EXPECT_EQ(std::memcmp((*file)->data(*norm), source.tensors[1].data.data(), norm->bytes), 0);
}

TEST(Gguf, any_integer_width_is_a_number) {
  for (const uint32_t type : {tiny::kU8, tiny::kI8, tiny::kU16, tiny::kI16, tiny::kU32, tiny::kI32,
                              tiny::kU64, tiny::kI64}) {
    File file = tiny::make_file(tiny::small_spec());
    tiny::Key key = tiny::scalar_key<uint64_t>("llama.embedding_length", type, 32);
    constexpr size_t kSizes[] = {1, 1, 2, 2, 4, 4, 0, 0, 0, 0, 8, 8};
    key.value.resize(kSizes[type]);
    file.set(key);
    EXPECT_TRUE(read_bytes(file.encode().bytes).is_ok()) << type;
  }
}

// --- each field times each kind of damage
// ----------------------------------------------------------

TEST(GgufMalformed, every_field_times_every_damage_is_read_or_refused_by_name) {
  const Writer good = tiny::make_file(tiny::small_spec()).encode();
  int kinds = 0, refused = 0;
  test::for_each_damage(good, [&](const std::vector<uint8_t>& bytes, const std::string& what) {
    const Status status = read_bytes(bytes);
    EXPECT_EQ(status.is_ok(), status.message().empty()) << what;
    ++kinds;
    refused += !status.is_ok();
  });
  EXPECT_GT(kinds, 400);
  EXPECT_GT(refused, kinds / 2);
}

struct Case {
  const char* name;
  std::function<void(File&)> edit;      // before encoding
  std::function<void(Writer&)> damage;  // behind it
  const char* needle;                   // the message names the field
};

const Case kCases[] = {
    {"magic_zero", {}, [](Writer& w) { set_field(w, "header.magic", 0); }, "GGUF"},
    {"magic_off_by_one", {}, [](Writer& w) { set_field(w, "header.magic", 0x46554748); }, "GGUF"},
    {"version_zero", {}, [](Writer& w) { set_field(w, "header.version", 0); }, "version 0"},
    {"version_one", {}, [](Writer& w) { set_field(w, "header.version", 1); }, "version 1"},
    {"version_four", {}, [](Writer& w) { set_field(w, "header.version", 4); }, "version 4"},
    {"version_big_endian",
     {},
     [](Writer& w) { set_field(w, "header.version", 0x03000000); },
     "big-endian"},
    {"tensor_count_minus_one",
     {},
     [](Writer& w) { set_field(w, "header.tensors", ~0ull); },
     "tensor count"},
    {"tensor_count_million",
     {},
     [](Writer& w) { set_field(w, "header.tensors", 1 << 20); },
     "tensor count"},
    {"tensor_count_zero",
     {},
     [](Writer& w) { set_field(w, "header.tensors", 0); },
     "token_embd.weight"},
    {"key_count_minus_one", {}, [](Writer& w) { set_field(w, "header.keys", ~0ull); }, "key count"},
    {"key_count_too_many", {}, [](Writer& w) { set_field(w, "header.keys", 60000); }, "key count"},
    {"key_count_zero", {}, [](Writer& w) { set_field(w, "header.keys", 0); }, "dimensions"},
    {"key_name_empty", [](File& f) { f.keys[3].name.clear(); }, {}, "name of key 3"},
    {"key_name_minus_one",
     {},
     [](Writer& w) { set_field(w, "key[3].name.length", ~0ull); },
     "name of key 3"},
    {"key_name_past_end",
     {},
     [](Writer& w) { set_field(w, "key[3].name.length", 65535); },
     "name of key 3"},
    {"key_name_zero_byte", [](File& f) { f.keys[3].name[2] = '\0'; }, {}, "zero byte"},
    {"key_type_undefined", {}, [](Writer& w) { set_field(w, "key[3].type", 13); }, "type 13"},
    {"key_type_minus_one",
     {},
     [](Writer& w) { set_field(w, "key[3].type", ~0ull); },
     "type 4294967295"},
    {"key_array_of_arrays",
     [](File& f) {
       f.set(tiny::array_key<uint8_t>("x.nested", tiny::kArray, {0, 0, 0, 0}));
     },
     {},
     "x.nested"},
    {"key_array_count_minus_one",
     [](File& f) {
       tiny::Key key = tiny::array_key<float>("x.list", tiny::kF32, {1, 2});
       std::memset(key.value.data() + 4, 0xFF, 8);
       f.set(key);
     },
     {},
     "bytes of an array"},
    {"key_array_count_large",
     [](File& f) {
       tiny::Key key = tiny::array_key<float>("x.list", tiny::kF32, {1, 2});
       key.value[4 + 4] = 1;  // 2^32 more
       f.set(key);
     },
     {},
     "x.list"},
    {"key_strings_count_large",
     [](File& f) {
       tiny::Key key = tiny::texts_key("x.list", {"a"});
       key.value[4 + 3] = 0x7F;
       f.set(key);
     },
     {},
     "x.list"},
    {"key_string_length_minus_one",
     [](File& f) {
       tiny::Key key = tiny::text_key("x.text", "abc");
       std::memset(key.value.data(), 0xFF, 8);
       f.set(key);
     },
     {},
     "x.text"},
    {"key_duplicate", [](File& f) { f.keys.push_back(f.keys[4]); }, {}, "appears twice"},
    {"architecture_wrong_type",
     [](File& f) { f.set(tiny::u32_key("general.architecture", 7)); },
     {},
     "general.architecture"},
    {"architecture_missing",
     [](File& f) { f.erase("general.architecture"); },
     {},
     "general.architecture"},
    {"architecture_unknown",
     [](File& f) { f.set(tiny::text_key("general.architecture", "mamba")); },
     {},
     "llama, mistral3, qwen2, qwen3, gemma2, gemma3"},
    {"number_is_text",
     [](File& f) { f.set(tiny::text_key("llama.block_count", "1")); },
     {},
     "llama.block_count"},
    {"number_is_fraction",
     [](File& f) { f.set(tiny::f32_key("llama.block_count", 1.5f)); },
     {},
     "llama.block_count"},
    {"number_is_nan",
     [](File& f) { f.set(tiny::f32_key("llama.rope.freq_base", std::nanf(""))); },
     {},
     "llama.rope.freq_base"},
    {"number_missing",
     [](File& f) { f.erase("llama.embedding_length"); },
     {},
     "llama.embedding_length"},
    {"alignment_zero",
     [](File& f) { f.set(tiny::u32_key("general.alignment", 0)); },
     {},
     "general.alignment"},
    {"alignment_three",
     [](File& f) { f.set(tiny::u32_key("general.alignment", 24)); },
     {},
     "general.alignment"},
    {"alignment_large",
     [](File& f) { f.set(tiny::u32_key("general.alignment", 1u << 31)); },
     {},
     "general.alignment"},
    {"alignment_wrong_type",
     [](File& f) { f.set(tiny::scalar_key<uint64_t>("general.alignment", tiny::kU64, 32)); },
     {},
     "general.alignment"},
    {"tensor_name_empty",
     {},
     [](Writer& w) { set_field(w, "tensor[2].name.length", 0); },
     "tensor 2"},
    {"tensor_name_long",
     {},
     [](Writer& w) { set_field(w, "tensor[2].name.length", 64); },
     "tensor 2"},
    {"tensor_duplicate",
     [](File& f) { f.tensors[3].name = f.tensors[2].name; },
     {},
     "appears twice"},
    {"tensor_dims_zero", {}, [](Writer& w) { set_field(w, "tensor[2].dims", 0); }, "0 dimensions"},
    {"tensor_dims_five", {}, [](Writer& w) { set_field(w, "tensor[2].dims", 5); }, "5 dimensions"},
    {"tensor_ne_zero", {}, [](Writer& w) { set_field(w, "tensor[0].ne", 0); }, "dimension 0"},
    {"tensor_ne_minus_one",
     {},
     [](Writer& w) { set_field(w, "tensor[0].ne", ~0ull); },
     "dimension 0"},
    {"tensor_ne_overflow",
     {},
     [](Writer& w) { set_field(w, "tensor[0].ne", 1ull << 62); },
     "element count"},
    {"tensor_ne_large",
     {},
     [](Writer& w) { set_field(w, "tensor[0].ne", 1ull << 40); },
     "token_embd.weight"},
    {"tensor_ne_one_more",
     {},
     [](Writer& w) { set_field(w, "tensor[0].ne", 17, 1); },
     "token_embd.weight"},
    {"tensor_type_removed", {}, [](Writer& w) { set_field(w, "tensor[0].type", 4); }, "type 4"},
    {"tensor_type_unknown",
     {},
     [](Writer& w) { set_field(w, "tensor[0].type", 9999); },
     "type 9999"},
    {"tensor_type_integer",
     {},
     [](Writer& w) { set_field(w, "tensor[0].type", 24); },
     "token_embd.weight"},
    {"tensor_type_block_misfit", [](File& f) { f.tensors[1].ne[0] = 33; },
     [](Writer& w) { set_field(w, "tensor[1].type", 2); }, "whole blocks"},
    {"tensor_offset_misaligned",
     {},
     [](Writer& w) { set_field(w, "tensor[1].offset", 2052); },
     "alignment"},
    {"tensor_offset_past_end",
     {},
     [](Writer& w) { set_field(w, "tensor[1].offset", 1 << 30); },
     "ends at byte"},
    {"tensor_offset_overflow",
     {},
     [](Writer& w) { set_field(w, "tensor[1].offset", ~31ull); },
     "overflows"},
    {"tensor_offset_overlap",
     {},
     [](Writer& w) { set_field(w, "tensor[1].offset", 0); },
     "overlap"},
    {"tensor_missing", [](File& f) { f.tensors.pop_back(); }, {}, "is missing"},
    {"tensor_unknown",
     [](File& f) {
       f.tensors.push_back(f.tensors[1]);
       f.tensors.back().name = "blk.0.attn_sinks.weight";
     },
     {},
     "attn_sinks"},
    {"tensor_of_absent_layer",
     [](File& f) {
       f.tensors.push_back(f.tensors[1]);
       f.tensors.back().name = "blk.1.attn_norm.weight";
     },
     {},
     "blk.1.attn_norm"},
    {"data_truncated", {}, [](Writer& w) { w.bytes.resize(w.bytes.size() - 64); }, "truncated"},
    {"data_absent", {}, [](Writer& w) { w.bytes.resize(w.fields.back().offset); }, "bytes"},
};

TEST(GgufMalformed, named_kinds_name_the_field) {
  EXPECT_GE(std::size(kCases), 40u);
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.name);
    File file = tiny::make_file(tiny::small_spec());
    if (c.edit) c.edit(file);
    Writer w = file.encode();
    if (c.damage) c.damage(w);
    const Status status = read_everywhere(w.bytes);
    EXPECT_FALSE(status.is_ok());
    EXPECT_NE(status.message().find(c.needle), std::string::npos) << status.message();
  }
}

TEST(GgufMalformed, truncation_at_every_byte_is_an_error) {
  const Writer good = tiny::make_file(tiny::small_spec()).encode();
  // The writer pads the end; ggml's files end there too, so only the padding may be cut.
  size_t needed = 0;
  const auto file = GgufFile::from_bytes(good.bytes, "memory");
  ASSERT_TRUE(file.is_ok());
  for (const GgufTensor& t : (*file)->tensors()) {
    needed = std::max<size_t>(needed, (*file)->data_offset() + t.offset + t.bytes);
  }
  for (size_t n = 0; n < needed; ++n) {
    // A copy of its own size, so that a sanitizer sees reads behind it.
    const std::vector<uint8_t> prefix(good.bytes.begin(), good.bytes.begin() + n);
    const Status status = read_bytes(prefix);
    ASSERT_FALSE(status.is_ok()) << n;
    ASSERT_FALSE(status.message().empty()) << n;
  }
}

TEST(GgufMalformed, every_bit_flip_of_the_header_is_read_or_refused) {
  Writer good = tiny::make_file(tiny::small_spec()).encode();
  const size_t header = good.fields.back().offset;
  ASSERT_LE(header, 8192u);
  int accepted = 0, refused = 0;
  for (size_t bit = 0; bit < header * 8; ++bit) {
    good.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    const Status status = read_bytes(good.bytes);
    good.bytes[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    EXPECT_EQ(status.is_ok(), status.message().empty()) << bit;
    (status.is_ok() ? accepted : refused)++;
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(accepted, 100);  // bits of numbers such as the rotation's base
}

}  // namespace
}  // namespace heed
