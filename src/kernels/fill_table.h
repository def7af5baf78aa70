// The table of one ISA: every text above it in the including unit, as function pointers.
// No include guard: each ISA's unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {
namespace {

template <class Page>
constexpr FormatOps format_of(void (*pack_v)(void*, int, int, const float*, int64_t, int),
                              void (*unpack_v)(const void*, int, int, float*, int64_t, int),
                              size_t (*q_bytes)(int),
                              void (*pack_q)(void*, const float*, float, int)) {
  return {static_cast<Format>(Page::kFormat),
          Page::k_bytes,
          Page::v_bytes,
          pack_k<Page>,
          pack_v,
          unpack_k<Page>,
          unpack_v,
          gather_k<Page>,
          gather_v<Page>,
          v_from_k<Page>,
          q_bytes,
          pack_q};
}

}  // namespace

extern const Table kTable = {
    {format_of<F32Page>(pack_v_f32, unpack_v_f32, q_bytes_float, pack_q_float),
     format_of<F16Page>(pack_v_f16, unpack_v_f16, q_bytes_float, pack_q_float),
     format_of<Bf16Page>(pack_v_bf16, unpack_v_bf16, q_bytes_bf16, pack_q_bf16)},
    attend_page,
    weigh_page,
    score_page,
    add_columns,
    max_columns,
    add_diagonals,
    pool_page,
    pool_rows,
    merge_rows,
    scale_row,
    rotate_row,
    exp2_fast_floats,
    exp2_precise_floats,
    tanh_floats,
    fma_loop,
    bf16_loop,
    int8_loop,
    stream_read,
};

}  // namespace heed::kernels::HEED_ISA
