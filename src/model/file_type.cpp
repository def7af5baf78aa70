#include "model/file_type.h"

#include <map>

namespace heed {
namespace {

// Numbers of general.file_type as llama.cpp writes them (llama_ftype).
constexpr struct {
  int id;
  const char* name;
} kFileTypes[] = {
    {0, "F32"},      {1, "F16"},      {2, "Q4_0"},       {3, "Q4_1"},    {7, "Q8_0"},
    {8, "Q5_0"},     {9, "Q5_1"},     {10, "Q2_K"},      {11, "Q3_K_S"}, {12, "Q3_K_M"},
    {13, "Q3_K_L"},  {14, "Q4_K_S"},  {15, "Q4_K_M"},    {16, "Q5_K_S"}, {17, "Q5_K_M"},
    {18, "Q6_K"},    {19, "IQ2_XXS"}, {20, "IQ2_XS"},    {21, "Q2_K_S"}, {22, "IQ3_XS"},
    {23, "IQ3_XXS"}, {24, "IQ1_S"},   {25, "IQ4_NL"},    {26, "IQ3_S"},  {27, "IQ3_M"},
    {28, "IQ2_S"},   {29, "IQ2_M"},   {30, "IQ4_XS"},    {31, "IQ1_M"},  {32, "BF16"},
    {36, "TQ1_0"},   {37, "TQ2_0"},   {38, "MXFP4_MOE"},
};

}  // namespace

std::string file_type_name(const GgufFile& file) {
  const Result<int64_t> id = file.integer("general.file_type", -1);
  if (id.is_ok()) {
    for (const auto& row : kFileTypes) {
      if (row.id == *id) return row.name;
    }
  }
  std::map<ggml_type, int64_t> elements;
  for (const GgufTensor& tensor : file.tensors()) elements[tensor.type] += tensor.elements();
  ggml_type most = GGML_TYPE_F32;
  for (const auto& [type, count] : elements) {
    if (count > elements[most]) most = type;
  }
  return ggml_type_name(most);
}

}  // namespace heed
