// The weight types as the tile reads them: word<h, j> is the vector of words 4h + j of the block's
// outputs [v * kLanes, (v + 1) * kLanes), as unsigned bytes whose zero point is kZero; the value is
// scale * (byte - kZero) + min. Minima are those of the file moved by kZero * scale, which keeps
// the correction small. No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

constexpr int kRowOfWords = kGroupOutputs * 4;  // bytes of one word of all outputs
constexpr int kCodesBytes = 4 * kRowOfWords;

// From kExpandRows rows on a group is unpacked once for all tiles, with less each unpacks it. 16
// rows of a 2048 x 8192 weight that unpack: Q4_1 0.71 and IQ4_NL 0.75 of the time of unpacked once,
// Q5_0 and Q4_K 0.85 to 0.9, Q6_K as long.
constexpr int kSomeRows = 32;
constexpr int kNoRows = 1 << 30;  // unpacking costs nothing

HEED_INLINE const uint16_t* halves(const uint8_t* p) {
  return reinterpret_cast<const uint16_t*>(p);
}

// Where block b of a group lies, and the head of its eight blocks.
template <int kHead, int kBlock>
struct Records {
  static constexpr size_t kBytes = kBlock;
  static constexpr size_t kSuper = kHead + kSuperBlocks * kBlock;
  static HEED_INLINE const uint8_t* head(const uint8_t* group, int b) {
    return group + kSuper * static_cast<size_t>(b / kSuperBlocks);
  }
  static HEED_INLINE const uint8_t* block(const uint8_t* group, int b) {
    return head(group, b) + kHead + static_cast<size_t>(b % kSuperBlocks) * kBlock;
  }
};
template <int kBlock>
struct Records<0, kBlock> {
  static constexpr size_t kBytes = kBlock;
  static HEED_INLINE const uint8_t* head(const uint8_t*, int) { return nullptr; }
  static HEED_INLINE const uint8_t* block(const uint8_t* group, int b) {
    return group + static_cast<size_t>(b) * kBlock;
  }
};

template <int h, int j>
HEED_INLINE VI nibbles(const uint8_t* block, int v) {
  const VI n = load_words(block + j * kRowOfWords + v * kLanes * 4);
  const VI mask = set1_word(0x0F0F0F0Fu);
  return and_words(h == 0 ? n : shift_right<4>(n), mask);
}

template <int k>
HEED_INLINE VI shifted(VI x) {
  if constexpr (k > 0) return shift_left<k>(x);
  if constexpr (k < 0) return shift_right<-k>(x);
  return x;
}

template <int h, int j>
HEED_INLINE VI nibbles_and_fifth(const uint8_t* block, int v) {
  const VI bits = load_words(block + kCodesBytes + v * kLanes * 4);
  return or_words(nibbles<h, j>(block, v),
                  and_words(shifted<4 - (4 * h + j)>(bits), set1_word(0x10101010u)));
}

// Scales (and minima) of legacy blocks lie behind the codes.
template <int kBytes, bool kWithMin, int kZeroPoint>
struct LegacyScales {
  static constexpr bool kMin = kWithMin;
  static constexpr int kZero = kZeroPoint;
  static constexpr int kScales = 1;
  using At = Records<0, kBytes + 64 + (kWithMin ? 64 : 0)>;
  template <int>
  static HEED_INLINE VF scale(const uint8_t*, const uint8_t* block, int v) {
    return load_f16(halves(block + kBytes) + v * kLanes);
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t* block, int v, VF scale) {
    const VF m = load_f16(halves(block + kBytes + 64) + v * kLanes);
    return fma(scale, set1(static_cast<float>(kZero)), m);
  }
};

struct Q4_0 : LegacyScales<kCodesBytes, false, 8> {
  static constexpr int kMost = 15;
  static constexpr int kExpandRows = kNoRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles<h, j>(block, v);
  }
};
struct Q4_1 : LegacyScales<kCodesBytes, true, 8> {
  static constexpr int kMost = 15;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles<h, j>(block, v);
  }
};
struct Q5_0 : LegacyScales<kCodesBytes + kRowOfWords, false, 16> {
  static constexpr int kMost = 31;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles_and_fifth<h, j>(block, v);
  }
};
struct Q5_1 : LegacyScales<kCodesBytes + kRowOfWords, true, 16> {
  static constexpr int kMost = 31;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles_and_fifth<h, j>(block, v);
  }
};
struct Q8_0 : LegacyScales<2 * kCodesBytes, false, 128> {
  static constexpr int kMost = 255;
  static constexpr int kExpandRows = kNoRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return load_words(block + (4 * h + j) * kRowOfWords + v * kLanes * 4);
  }
};
struct Iq4Nl : LegacyScales<kCodesBytes, false, 128> {
  static constexpr int kMost = 255;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    // kvalues_iq4nl of the format, + 128.
    alignas(16) static constexpr uint8_t kValues[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                        129, 141, 153, 166, 181, 197, 217, 241};
    return lookup_bytes(kValues, nibbles<h, j>(block, v));
  }
};

// The same codes; eight blocks share d, and their 6-bit scales lie in the head too, so that every
// record starts a cache line.
struct Iq4Xs {
  static constexpr bool kMin = false;
  static constexpr int kZero = Iq4Nl::kZero;
  static constexpr int kScales = 1;
  static constexpr int kMost = Iq4Nl::kMost;
  static constexpr int kExpandRows = kSomeRows;
  static constexpr int kHead = 64 + kSuperBlocks * kGroupOutputs;
  using At = Records<kHead, kCodesBytes>;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return Iq4Nl::word<h, j>(block, v);
  }
  template <int>
  static HEED_INLINE VF scale(const uint8_t* head, const uint8_t* block, int v) {
    const ptrdiff_t b = (block - head - kHead) / kCodesBytes;
    return mul(load_f16(halves(head) + v * kLanes),
               load_i8(head + 64 + b * kGroupOutputs + v * kLanes));
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t*, int, VF) { return zero(); }
};

// Codes 1 + 2 + 1 bits of sign, exponent and mantissa; doubled values, + 16. The scale is half the
// file's power of two.
struct Mxfp4 {
  static constexpr bool kMin = false;
  static constexpr int kZero = 16;
  static constexpr int kScales = 1;
  static constexpr int kMost = 31;
  static constexpr int kExpandRows = kSomeRows;
  using At = Records<0, kCodesBytes + 64>;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    alignas(16) static constexpr uint8_t kValues[16] = {16, 17, 18, 19, 20, 22, 24, 28,
                                                        16, 15, 14, 13, 12, 10, 8,  4};
    return lookup_bytes(kValues, nibbles<h, j>(block, v));
  }
  template <int>
  static HEED_INLINE VF scale(const uint8_t*, const uint8_t* block, int v) {
    return load_bf16(halves(block + kCodesBytes) + v * kLanes);
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t*, int, VF) { return zero(); }
};

// K types with minima: d * scale[b] and dmin * min[b], both 6-bit integers.
template <int kBytes, int kZeroPoint>
struct SuperScales {
  static constexpr bool kMin = true;
  static constexpr int kZero = kZeroPoint;
  static constexpr int kScales = 1;
  using At = Records<128, kBytes + 64>;
  template <int>
  static HEED_INLINE VF scale(const uint8_t* head, const uint8_t* block, int v) {
    return mul(load_f16(halves(head) + v * kLanes), load_u8(block + kBytes + v * kLanes));
  }
  static HEED_INLINE VF min(const uint8_t* head, const uint8_t* block, int v, VF scale) {
    const VF m = mul(load_f16(halves(head + 64) + v * kLanes),
                     load_u8(block + kBytes + kGroupOutputs + v * kLanes));
    return sub(mul(scale, set1(static_cast<float>(kZero))), m);
  }
};

struct Q4K : SuperScales<kCodesBytes, 8> {
  static constexpr int kMost = 15;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles<h, j>(block, v);
  }
};
struct Q5K : SuperScales<kCodesBytes + kRowOfWords, 16> {
  static constexpr int kMost = 31;
  static constexpr int kExpandRows = kSomeRows;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return nibbles_and_fifth<h, j>(block, v);
  }
};

struct Q6K {
  static constexpr bool kMin = false;
  static constexpr int kZero = 32;
  static constexpr int kScales = 2;
  static constexpr int kMost = 63;
  static constexpr int kExpandRows = kSomeRows;
  static constexpr int kBytes = kCodesBytes + 2 * kRowOfWords;
  using At = Records<64, kBytes + 64>;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    const VI bits = load_words(block + kCodesBytes + h * kRowOfWords + v * kLanes * 4);
    return or_words(nibbles<h, j>(block, v),
                    and_words(shifted<4 - 2 * j>(bits), set1_word(0x30303030u)));
  }
  template <int h>
  static HEED_INLINE VF scale(const uint8_t* head, const uint8_t* block, int v) {
    return mul(load_f16(halves(head) + v * kLanes),
               load_i8(block + kBytes + h * kGroupOutputs + v * kLanes));
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t*, int, VF) { return zero(); }
};

// Two bits and a third one; scales of 16 inputs as in Q6_K.
struct Q3K {
  static constexpr bool kMin = false;
  static constexpr int kZero = 4;
  static constexpr int kScales = 2;
  static constexpr int kMost = 15;
  static constexpr int kExpandRows = kSomeRows;
  static constexpr int kBytes = 3 * kRowOfWords;
  using At = Records<64, kBytes + 64>;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    const VI low = load_words(block + h * kRowOfWords + v * kLanes * 4);
    const VI high = load_words(block + 2 * kRowOfWords + v * kLanes * 4);
    return or_words(and_words(shifted<-2 * j>(low), set1_word(0x03030303u)),
                    and_words(shifted<2 - (4 * h + j)>(high), set1_word(0x04040404u)));
  }
  template <int h>
  static HEED_INLINE VF scale(const uint8_t* head, const uint8_t* block, int v) {
    return mul(load_f16(halves(head) + v * kLanes),
               load_i8(block + kBytes + h * kGroupOutputs + v * kLanes));
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t*, int, VF) { return zero(); }
};

// What expand() made of a W: bytes, fp32 scales, then fp32 minima or the second scales.
template <class W>
struct Expanded {
  static constexpr bool kMin = W::kMin;
  static constexpr int kZero = W::kZero;
  static constexpr int kScales = W::kScales;
  static constexpr int kMost = W::kMost;
  static_assert(!kMin || kScales == 1);
  using At = Records<0, kExpandedBlock>;
  template <int h, int j>
  static HEED_INLINE VI word(const uint8_t* block, int v) {
    return load_words(block + (4 * h + j) * kRowOfWords + v * kLanes * 4);
  }
  static HEED_INLINE VF floats(const uint8_t* block, int row, int v) {
    return load(reinterpret_cast<const float*>(block + 1024 + row * 128) + v * kLanes);
  }
  template <int h>
  static HEED_INLINE VF scale(const uint8_t*, const uint8_t* block, int v) {
    return floats(block, h, v);
  }
  static HEED_INLINE VF min(const uint8_t*, const uint8_t* block, int v, VF) {
    return floats(block, 1, v);
  }
};

}  // namespace
}  // namespace heed::kernels::HEED_ISA
