// Tiny models that can be talked with.
#pragma once

#include <vector>

#include "heed/sampling.h"
#include "tiny_gguf.h"

namespace heed::tiny {

inline File chat_file(int context = 512) {
  Spec spec;
  spec.vocab = 300;
  spec.context = context;
  spec.tied = false;  // else such a model says its last token again and again
  spec.text_vocabulary = spec.space_token = true;
  File file = make_file(spec);
  file.set(text_key("tokenizer.chat_template",
                    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
                    "{% if add_generation_prompt %}<assistant>{% endif %}"));
  return file;
}

// Nothing but small letters, which are tokens of their own: an answer is read back as it was made.
inline std::vector<LogitBias> letters_only() {
  std::vector<LogitBias> bias;
  for (Token t = 0; t < 300; ++t) {
    if (t < 3 + 'a' || t > 3 + 'z') bias.push_back({t, -INFINITY});
  }
  return bias;
}

}  // namespace heed::tiny
