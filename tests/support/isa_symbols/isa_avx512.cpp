// What an ISA object must not hold: compiled by the test of cmake/check_isa_symbols.cmake only.
namespace heed::avx512 {

template <class T>
T weak_twice(T x) {
  return x + x;
}

int exported(int x) { return weak_twice(x); }

}  // namespace heed::avx512

int outside_the_namespace() { return 1; }
