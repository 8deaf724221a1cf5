#include "classify.h"

#include <stdbool.h>

/* Names of fields and groups are those of the Arm Architecture Reference Manual, chapter C4. */

const char *const KIND_NAMES[KINDS] = {"dot", "fp", "simd", "load", "store", "branch", "other"};

static uint32_t bits(uint32_t word, int high, int low) { return word >> low & ((2u << (high - low)) - 1); }

static bool is_dot(uint32_t w) {
    return (w & 0x9fe0fc00) == 0x0e809400 ||                                       /* sdot, udot */
           (w & 0xbfe0fc00) == 0x0e809c00 ||                                       /* usdot */
           (w & 0x9fc0f400) == 0x0f80e000 ||                                       /* sdot, udot by element */
           (w & 0xbfc0f400) == 0x0f80f000 || (w & 0xbfc0f400) == 0x0f00f000 ||     /* usdot, sudot by element */
           (w & 0xdfe0fc00) == 0x4e80a400 || (w & 0xffe0fc00) == 0x4e80ac00;       /* smmla, ummla; usmmla */
}

/* Two registers in, or one of its pairs or lanes reduced: opcodes that are floating-point. */
static bool is_fp_two_registers(uint32_t w) {
    const uint32_t opcode = bits(w, 16, 12), high_size = bits(w, 23, 23);
    switch (bits(w, 21, 17)) {
    case 0x1c: /* half precision */
        return true;
    case 0x18: /* across lanes, and pairs of a scalar: fmaxnmv, fmaxv, faddp */
        return opcode >= 0x0c && opcode <= 0x0f;
    case 0x10:
        if (opcode == 0x1c) return !high_size; /* else urecpe, ursqrte: integers */
        return (opcode >= 0x0c && opcode <= 0x0f) || opcode == 0x16 || opcode == 0x17 || opcode >= 0x18;
    default:
        return false;
    }
}

static bool is_fp_by_element(uint32_t w) {
    const uint32_t opcode = bits(w, 15, 12), size = bits(w, 23, 22);
    const bool u = bits(w, 29, 29);
    if (opcode == 0x9) return true;                                      /* fmul, fmulx */
    if (u) return (opcode & 0x9) == 0x1 || (size == 2 && (opcode == 0x8 || opcode == 0xc)); /* fcmla; fmlal2, fmlsl2 */
    if (opcode == 0x1 || opcode == 0x5) return true;                     /* fmla, fmls */
    if (opcode == 0x0 || opcode == 0x4) return size == 2;                /* fmlal, fmlsl */
    return opcode == 0xf && (size == 1 || size == 3);                    /* bfdot, bfmlal */
}

/* Advanced SIMD, of vectors (bit 28 is 0) and of scalars: the same opcodes in the same places. */
static bool is_fp_vector(uint32_t w) {
    if (bits(w, 24, 24)) {
        if (!bits(w, 10, 10)) return is_fp_by_element(w);
        return bits(w, 22, 19) && bits(w, 15, 11) >= 0x1c;               /* shifts: scvtf, fcvtzs to fixed point */
    }
    if (bits(w, 21, 21)) {
        if (bits(w, 10, 10)) return bits(w, 15, 11) >= 0x18;             /* three registers: fmla, fadd, ... */
        return bits(w, 11, 10) == 2 && is_fp_two_registers(w);
    }
    if (!bits(w, 10, 10)) return false;                                  /* copies, permutations, tables */
    if (bits(w, 15, 15)) return bits(w, 14, 11) >= 0x8;                  /* fcmla, fcadd, bfdot, bfmmla */
    return bits(w, 22, 22) && !bits(w, 14, 14);                          /* three registers of half precision */
}

static bool is_fp_scalar(uint32_t w) {
    if (bits(w, 24, 24)) return true;                                    /* fmadd and its kin */
    if (!bits(w, 21, 21)) return true;                                   /* to and from fixed point */
    switch (bits(w, 11, 10)) {
    case 1: /* fccmp */
    case 2: /* fadd, fmul, ... */
        return true;
    case 3: /* fcsel */
        return false;
    }
    if (bits(w, 12, 12)) return false;                                   /* fmov of a constant */
    if (bits(w, 13, 13)) return true;                                    /* fcmp */
    if (bits(w, 14, 14)) return bits(w, 20, 15) != 0;                    /* fneg, fsqrt, fcvt, ...; 0 is fmov */
    return bits(w, 18, 17) != 3 || bits(w, 20, 19) == 3;                 /* to and from integers; else fmov */
}

static enum kind of_vectors(uint32_t w) {
    if (is_dot(w)) return DOT;
    if (bits(w, 30, 30) == 0 && bits(w, 28, 28)) return is_fp_scalar(w) ? FP : SIMD;
    if (bits(w, 31, 31)) return SIMD;                                    /* SHA-3 and SHA-512, SM3, SM4 */
    return is_fp_vector(w) ? FP : SIMD;
}

static enum kind of_memory(uint32_t w) {
    const uint32_t op = bits(w, 29, 28);
    const bool vector = bits(w, 26, 26);
    if (op == 0) {
        if (vector) return bits(w, 22, 22) ? LOAD : STORE;               /* ld1 .. st4, of structures */
        /* Exclusive and ordered. Without exclusivity, and with the third bit: compare and swap. */
        if (bits(w, 23, 23) && bits(w, 21, 21)) return STORE;
        if (!bits(w, 23, 23) && bits(w, 21, 21) && !bits(w, 31, 31)) return STORE; /* casp */
        return bits(w, 22, 22) ? LOAD : STORE;
    }
    if (op == 1) {
        if (!bits(w, 24, 24)) return LOAD;                               /* from near the program counter */
        if (bits(w, 21, 21)) return STORE;                               /* memory tags, and copies of memory */
        return bits(w, vector ? 22 : 23, 22) ? LOAD : STORE;             /* ldapur, stlur */
    }
    if (op == 2) return bits(w, 22, 22) ? LOAD : STORE;                  /* ldp, stp */
    if (!bits(w, 24, 24) && bits(w, 21, 21) && bits(w, 11, 10) == 0) {
        /* Atomics; ldapr is the one that only reads. */
        return bits(w, 15, 12) == 0xc ? LOAD : STORE;
    }
    if (!bits(w, 24, 24) && bits(w, 21, 21) && bits(w, 10, 10)) return LOAD; /* ldraa, ldrab */
    return bits(w, vector ? 22 : 23, 22) ? LOAD : STORE;                 /* ldr, str; prfm reads */
}

static enum kind of_control(uint32_t w) {
    const uint32_t op = bits(w, 31, 29);
    if ((op & 3) == 0) return BRANCH;                                    /* b, bl */
    if ((op & 3) == 1) return BRANCH;                                    /* cbz, cbnz, tbz, tbnz */
    if (op == 2) return BRANCH;                                          /* b.cond */
    return op == 6 && bits(w, 25, 25) ? BRANCH : OTHER;                  /* br, blr, ret; else system */
}

enum kind classify(uint32_t word) {
    switch (bits(word, 28, 25)) {
    case 0x4: case 0x6: case 0xc: case 0xe:
        return of_memory(word);
    case 0x7: case 0xf:
        return of_vectors(word);
    case 0xa: case 0xb:
        return of_control(word);
    default:
        return OTHER;
    }
}
