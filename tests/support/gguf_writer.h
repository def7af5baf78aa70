// GGUF files written byte by byte, so that tests know where every field is.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace heed::tiny {

// Numbers of the GGUF and ggml formats, spelled here so that the writer shares no code with the
// reader under test.
enum ValueType : uint32_t {
  kU8 = 0,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kText,
  kArray,
  kU64,
  kI64,
  kF64
};
enum TensorType : uint32_t { kTensorF32 = 0, kTensorF16 = 1, kTensorQ4_0 = 2, kTensorQ8_0 = 8 };

struct Field {
  std::string name;  // "header.magic", "key[3].type", "tensor[0].offset", "data"
  size_t offset = 0;
  size_t size = 0;
};

class Writer {
 public:
  std::vector<uint8_t> bytes;
  std::vector<Field> fields;

  template <class T>
  void put(const std::string& name, T value) {
    fields.push_back({name, bytes.size(), sizeof(T)});
    append(&value, sizeof(T));
  }
  void text(const std::string& name, const std::string& value) {
    put<uint64_t>(name + ".length", value.size());
    fields.push_back({name + ".bytes", bytes.size(), value.size()});
    append(value.data(), value.size());
  }
  void append(const void* data, size_t size) {
    const auto* p = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), p, p + size);
  }
  void pad(size_t alignment) {
    while (bytes.size() % alignment != 0) bytes.push_back(0);
  }
};

// One key with its encoded value.
struct Key {
  std::string name;
  uint32_t type = kU32;
  std::vector<uint8_t> value;  // behind the type: for arrays element type, count, elements
};

template <class T>
Key scalar_key(const std::string& name, uint32_t type, T value) {
  Key key{name, type, std::vector<uint8_t>(sizeof(T))};
  std::memcpy(key.value.data(), &value, sizeof(T));
  return key;
}
inline Key u32_key(const std::string& name, uint32_t value) {
  return scalar_key(name, kU32, value);
}
inline Key f32_key(const std::string& name, float value) { return scalar_key(name, kF32, value); }
inline Key bool_key(const std::string& name, bool value) {
  return scalar_key<uint8_t>(name, kBool, value ? 1 : 0);
}
inline Key text_key(const std::string& name, const std::string& value) {
  Writer w;
  w.text("", value);
  return {name, kText, w.bytes};
}
template <class T>
Key array_key(const std::string& name, uint32_t type, const std::vector<T>& values) {
  Writer w;
  w.put<uint32_t>("", type);
  w.put<uint64_t>("", values.size());
  w.append(values.data(), values.size() * sizeof(T));
  return {name, kArray, w.bytes};
}
inline Key texts_key(const std::string& name, const std::vector<std::string>& values) {
  Writer w;
  w.put<uint32_t>("", kText);
  w.put<uint64_t>("", values.size());
  for (const std::string& value : values) w.text("", value);
  return {name, kArray, w.bytes};
}

struct Tensor {
  std::string name;
  std::vector<uint64_t> ne;
  uint32_t type = kTensorF32;
  std::vector<uint8_t> data;
};

struct File {
  std::vector<Key> keys;
  std::vector<Tensor> tensors;
  size_t alignment = 32;

  Key* find(const std::string& name) {
    for (Key& key : keys) {
      if (key.name == name) return &key;
    }
    return nullptr;
  }
  void set(Key key) {
    if (Key* old = find(key.name)) {
      *old = std::move(key);
    } else {
      keys.push_back(std::move(key));
    }
  }
  void erase(const std::string& name) {
    std::erase_if(keys, [&](const Key& key) { return key.name == name; });
  }
  Tensor* tensor(const std::string& name) {
    for (Tensor& t : tensors) {
      if (t.name == name) return &t;
    }
    return nullptr;
  }

  Writer encode() const {
    Writer w;
    w.put<uint32_t>("header.magic", 0x46554747);
    w.put<uint32_t>("header.version", 3);
    w.put<uint64_t>("header.tensors", tensors.size());
    w.put<uint64_t>("header.keys", keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string at = "key[" + std::to_string(i) + "]";
      w.text(at + ".name", keys[i].name);
      w.put<uint32_t>(at + ".type", keys[i].type);
      w.fields.push_back({at + ".value", w.bytes.size(), keys[i].value.size()});
      w.append(keys[i].value.data(), keys[i].value.size());
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const std::string at = "tensor[" + std::to_string(i) + "]";
      w.text(at + ".name", tensors[i].name);
      w.put<uint32_t>(at + ".dims", static_cast<uint32_t>(tensors[i].ne.size()));
      for (const uint64_t n : tensors[i].ne) w.put<uint64_t>(at + ".ne", n);
      w.put<uint32_t>(at + ".type", tensors[i].type);
      w.put<uint64_t>(at + ".offset", offset);
      offset += (tensors[i].data.size() + alignment - 1) / alignment * alignment;
    }
    w.pad(alignment);
    w.fields.push_back({"data", w.bytes.size(), 0});
    for (const Tensor& t : tensors) {
      w.append(t.data.data(), t.data.size());
      w.pad(alignment);
    }
    w.fields.back().size = w.bytes.size() - w.fields.back().offset;
    return w;
  }
};

}  // namespace heed::tiny
