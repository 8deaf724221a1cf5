/* What an A64 instruction is, from its 32 bits. */
#pragma once

#include <stdint.h>

enum kind {
    DOT,    /* sums of products of int8: sdot, udot, usdot, sudot, smmla, ummla, usmmla */
    FP,     /* floating-point arithmetic, comparison and conversion, vector or scalar: fmla, fadd, scvtf, ... */
    SIMD,   /* what else works on vector registers: integer arithmetic, shuffles, moves */
    LOAD,   /* reads memory, into any register; prefetches, too */
    STORE,  /* writes memory; an atomic read-modify-write is a store */
    BRANCH, /* conditional or not, calls and returns */
    OTHER,  /* integer arithmetic, system instructions, and what is not known here (SVE, SME) */
    KINDS
};

extern const char *const KIND_NAMES[KINDS];

enum kind classify(uint32_t word);
