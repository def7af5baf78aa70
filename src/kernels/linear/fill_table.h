// The table of one ISA's unit. No include guard: each unit includes this text in its own namespace.

namespace heed::kernels::HEED_ISA {

extern const LinearTable kLinearTable = {
    {quantize_rows, pack_floats, pack_pairs},
    {sizeof(InputBlock), kFloatBlockBytes, kPairBlockBytes},
    {linear_product<Q4_0>, linear_product<Q4_1>, linear_product<Q5_0>, linear_product<Q5_1>,
     linear_product<Q8_0>, linear_product<Iq4Nl>, linear_product<Mxfp4>, linear_product<Q4K>,
     linear_product<Q5K>, linear_product<Q6K>, float_product<F32Operand>, f16_product,
     float_product<Bf16Operand>, linear_product<Q3K>, linear_product<Iq4Xs>},
    {widen_group<Q4_0>, widen_group<Q4_1>, widen_group<Q5_0>, widen_group<Q5_1>, widen_group<Q8_0>,
     widen_group<Iq4Nl>, widen_group<Mxfp4>, widen_group<Q4K>, widen_group<Q5K>, widen_group<Q6K>,
     nullptr, nullptr, nullptr, widen_group<Q3K>, widen_group<Iq4Xs>},
    widen_rows,
    float_product<WideOperand>,
    kWideBlock,
    rms_norm_row,
    {gate_silu, gate_gelu, gate_clamped_silu},
};

}  // namespace heed::kernels::HEED_ISA
