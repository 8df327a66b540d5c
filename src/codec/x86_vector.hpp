#pragma once

#if defined(__x86_64__) && defined(__GNUC__)
#define FUSIONLLM_X86_TILES 1
#define FUSIONLLM_TARGET(isa) __attribute__((target(isa)))
#define FUSIONLLM_TARGET_INLINE(isa) \
    __attribute__((target(isa), always_inline)) inline
#define FUSIONLLM_UNROLL _Pragma("GCC unroll 24")
#else
#define FUSIONLLM_X86_TILES 0
#endif

#if FUSIONLLM_X86_TILES

#include <immintrin.h>

// Registers of instruction sets that a function may use though the rest of the
// program must not.
namespace fusionllm::detail {

template <class Number>
struct Avx512Vector;
template <class Number>
struct Avx2Vector;

template <>
struct Avx512Vector<float> {
    using Type = __m512;
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type zero() { return _mm512_setzero_ps(); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type fill(const float& x) { return _mm512_set1_ps(x); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type load(const float* x) { return _mm512_loadu_ps(x); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static void store(float* x, Type y) { _mm512_storeu_ps(x, y); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type fma(Type a, Type b, Type c) { return _mm512_fmadd_ps(a, b, c); }
};

template <>
struct Avx512Vector<double> {
    using Type = __m512d;
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type zero() { return _mm512_setzero_pd(); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type fill(const double& x) { return _mm512_set1_pd(x); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type load(const double* x) { return _mm512_loadu_pd(x); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static void store(double* x, Type y) { _mm512_storeu_pd(x, y); }
    FUSIONLLM_TARGET_INLINE("avx512f")
    static Type fma(Type a, Type b, Type c) { return _mm512_fmadd_pd(a, b, c); }
};

template <>
struct Avx2Vector<float> {
    using Type = __m256;
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type zero() { return _mm256_setzero_ps(); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type fill(const float& x) { return _mm256_set1_ps(x); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type load(const float* x) { return _mm256_loadu_ps(x); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static void store(float* x, Type y) { _mm256_storeu_ps(x, y); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type fma(Type a, Type b, Type c) { return _mm256_fmadd_ps(a, b, c); }
};

template <>
struct Avx2Vector<double> {
    using Type = __m256d;
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type zero() { return _mm256_setzero_pd(); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type fill(const double& x) { return _mm256_set1_pd(x); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type load(const double* x) { return _mm256_loadu_pd(x); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static void store(double* x, Type y) { _mm256_storeu_pd(x, y); }
    FUSIONLLM_TARGET_INLINE("avx2,fma")
    static Type fma(Type a, Type b, Type c) { return _mm256_fmadd_pd(a, b, c); }
};

}  // namespace fusionllm::detail

#endif
