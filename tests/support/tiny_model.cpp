// tiny_model FILE: a model of random weights and a vocabulary of text, for tests of the command
// that no C++ test reaches.
#include "tiny_gguf.h"

int main(int count, char** arguments) {
  if (count != 2) return 2;
  heed::tiny::Spec spec;
  spec.text_vocabulary = true;
  spec.vocab = 259;  // three controls and a token for each byte
  spec.weight_type = heed::tiny::kTensorQ4_0;
  const auto bytes = heed::tiny::make_file(spec).encode().bytes;
  std::ofstream out(arguments[1], std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  return out.good() ? 0 : 1;
}
