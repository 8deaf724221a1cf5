"""What the emulator's plugin counts, against the assembler's word for each instruction and against programs
whose counts are known; and `edgekit arm cost`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgekit.backends.arm import counting, parts
from edgekit.errors import EdgekitError

# By the Arm manual's descriptions, one a line.
INSTRUCTIONS = {
    "dot": """
        sdot v0.4s, v1.16b, v2.16b; udot v0.2s, v1.8b, v2.8b; sdot v0.4s, v1.16b, v2.4b[3]
        udot v31.2s, v30.8b, v29.4b[1]; usdot v0.4s, v1.16b, v2.16b; usdot v0.4s, v1.16b, v2.4b[0]
        sudot v0.4s, v1.16b, v2.4b[2]; smmla v0.4s, v1.16b, v2.16b; ummla v9.4s, v8.16b, v7.16b
        usmmla v0.4s, v1.16b, v2.16b""",
    "fp": """
        fmla v0.4s, v1.4s, v2.4s; fmla v0.4s, v1.4s, v2.s[3]; fmls v0.2d, v1.2d, v2.2d
        fmul v0.4s, v1.4s, v2.s[0]
        fmulx v0.2s, v1.2s, v2.2s; fadd v0.4s, v1.4s, v2.4s; fmax v0.4s, v1.4s, v2.4s; fmaxv s0, v1.4s
        faddp v0.4s, v1.4s, v2.4s; faddp s0, v1.2s; fcmgt v0.4s, v1.4s, #0.0; fcmge v0.4s, v1.4s, v2.4s
        fsqrt v0.4s, v1.4s; frintn v0.4s, v1.4s; fcvtns v0.4s, v1.4s; scvtf v0.4s, v1.4s
        ucvtf v0.4s, v1.4s, #4
        fcvtzs v0.4s, v1.4s, #3; fcvtl v0.4s, v1.4h; fcvtn v0.4h, v1.4s; fneg v0.4s, v1.4s
        frecpe v0.4s, v1.4s
        fmla v0.8h, v1.8h, v2.8h; fadd v0.8h, v1.8h, v2.8h; fabs v0.8h, v1.8h; fmlal v0.4s, v1.4h, v2.4h
        fmlal2 v0.4s, v1.4h, v2.h[1]; fcmla v0.4s, v1.4s, v2.4s, #90; fcadd v0.4s, v1.4s, v2.4s, #270
        bfdot v0.4s, v1.8h, v2.8h; bfmmla v0.4s, v1.8h, v2.8h; bfmlalt v0.4s, v1.8h, v2.8h
        bfdot v0.4s, v1.8h, v2.2h[1]; fmadd s0, s1, s2, s3; fnmsub d0, d1, d2, d3; fadd s0, s1, s2
        fdiv d0, d1, d2
        fcmp s0, s1; fcmpe d0, #0.0; fccmp s0, s1, #0, eq; fsqrt s0, s1; fcvt d0, s1; frinta s0, s1
        scvtf s0, w1; fcvtzs x0, d1; fcvtms w0, s1; ucvtf d0, x1, #5; fjcvtzs w0, d1; fmul s0, s1, v2.s[1]
        fcvtas s0, s1; fabd s0, s1, s2; frsqrts v0.4s, v1.4s, v2.4s""",
    "simd": """
        add v0.4s, v1.4s, v2.4s; mla v0.4s, v1.4s, v2.4s; mla v0.4s, v1.4s, v2.s[1]; smlal v0.4s, v1.4h, v2.4h
        smlal2 v0.4s, v1.8h, v2.h[7]; smull v0.8h, v1.8b, v2.8b; sqrdmulh v0.4s, v1.4s, v2.4s
        sqrdmlah v0.4s, v1.4s, v2.4s; sadalp v0.4s, v1.8h; addv s0, v1.4s; addp d0, v1.2d; uaddlv h0, v1.8b
        sqxtn v0.4h, v1.4s; xtn2 v0.8h, v1.4s; sshr v0.4s, v1.4s, #3; sqrshrn v0.4h, v1.4s, #3; shl d0, d1, #3
        movi v0.16b, #7; fmov v0.4s, #1.0; fmov s0, #1.0; fmov s0, s1; fmov w0, s1; fmov x0, d1
        fmov v0.d[1], x1
        fcsel s0, s1, s2, ne; dup v0.4s, w1; dup v0.4s, v1.s[2]; ins v0.s[1], w2; umov w0, v1.s[1]
        ext v0.16b, v1.16b, v2.16b, #4; tbl v0.16b, {v1.16b}, v2.16b; zip1 v0.4s, v1.4s, v2.4s
        uzp2 v0.16b, v1.16b, v2.16b; trn1 v0.4s, v1.4s, v2.4s; rev64 v0.4s, v1.4s; and v0.16b, v1.16b, v2.16b
        bsl v0.16b, v1.16b, v2.16b; cmeq v0.4s, v1.4s, v2.4s; urecpe v0.4s, v1.4s; ursqrte v0.4s, v1.4s
        smax v0.4s, v1.4s, v2.4s; aese v0.16b, v1.16b; sha256h q0, q1, v2.4s
        eor3 v0.16b, v1.16b, v2.16b, v3.16b
        pmull v0.8h, v1.8b, v2.8b; abs v0.4s, v1.4s; cnt v0.16b, v1.16b""",
    "load": """
        ldr x0, [x1]; ldr w0, [x1, x2, lsl #2]; ldrsw x0, [x1, #4]; ldrsb w0, [x1], #1; ldur x0, [x1, #-8]
        ldr q0, [x1, #16]!; ldr q0, [x1, x2]; ldr s0, [x1]; ldur q0, [x1, #-16]; ldp x0, x1, [sp]
        ldp q0, q1, [x2], #32
        ldnp d0, d1, [x2]; ldpsw x0, x1, [x2]; ld1 {v0.16b-v3.16b}, [x1], #64; ld1r {v0.4s}, [x1]
        ld1 {v0.s}[1], [x1]; ld4 {v0.4s-v3.4s}, [x1]; ld1 {v0.4s}, [x1], x2; ldxr x0, [x1]; ldaxp x0, x1, [x2]
        ldar w0, [x1]; ldapr w0, [x1]; ldapur w0, [x1, #4]; ldapursb x0, [x1]; prfm pldl1keep, [x0, #64]
        ldraa x0, [x1]; ldrb w0, [x1]; ldr x0, 0""",
    "store": """
        str x0, [x1]; strb w0, [x1, x2]; stur x0, [x1, #-8]; str q0, [x1], #16; str s0, [x1, x2, lsl #2]
        stp x0, x1, [sp, #-16]!; stp q0, q1, [x2]; stnp x0, x1, [x2]; st1 {v0.16b-v3.16b}, [x1]
        st1 {v0.s}[3], [x1]
        st2 {v0.4s, v1.4s}, [x1], #32; stxr w0, x1, [x2]; stlr w0, [x1]; stlur w0, [x1, #4]; cas x0, x1, [x2]
        casp x0, x1, x2, x3, [x4]; swpal w0, w1, [x2]; ldadd w0, w1, [x2]; ldsmaxal x0, x1, [x2]""",
    "branch": """
        b 0; bl 0; b.ne 0; cbz x0, 0; cbnz w0, 0; tbz x0, #63, 0; tbnz w0, #3, 0; br x0; blr x1; ret
        braa x0, x1; retaa""",
    "other": """
        add x0, x1, x2; subs w0, w1, #4; mov x0, x1; movz x0, #1, lsl #16; madd x0, x1, x2, x3
        umulh x0, x1, x2
        udiv x0, x1, x2; csel x0, x1, x2, eq; ccmp x0, x1, #0, eq; bfi x0, x1, #3, #4; ubfx w0, w1, #3, #4
        adr x0, 0
        and x0, x1, #0xff; extr x0, x1, x2, #3; clz x0, x1; crc32w w0, w1, w2; svc #0; nop; hint #126; dmb ish
        mrs x0, tpidr_el0; msr fpcr, x0; brk #1; isb; adrp x0, 0""",
}  # fmt: skip

# Its counts can be read off: 1000 rounds of two dot products, an fmla, a load and a store each; then a
# mark, ten rounds of fadd, and a mark.
PROGRAM = """
.global _start
_start:
    adr x1, place
    mov x0, #1000
1:  sdot v0.4s, v1.16b, v2.16b
    sdot v3.4s, v1.16b, v2.4b[1]
    fmla v4.4s, v5.4s, v6.4s
    ldr q7, [x1]
    str q7, [x1]
    add v8.4s, v8.4s, v7.4s
    subs x0, x0, #1
    b.ne 1b
    mov x0, #10
    b 2f
2:  hint #126
    b 3f
3:  fadd s0, s1, s2
    subs x0, x0, #1
    b.ne 3b
    b 4f
4:  hint #127
    mov x0, #0
    mov x8, #93
    svc #0
.data
.balign 16
place: .zero 16
"""


def cross(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    tools = parts.tools(print)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(parts.tool_libraries(tools))}
    program = tools / f"usr/bin/aarch64-linux-gnu-{name}"
    return subprocess.run(
        [str(program), *map(str, arguments)], env=environment, check=True, capture_output=True, text=True
    )


def assembled(source: str, folder: Path) -> Path:
    (folder / "a.s").write_text(source)
    cross(
        "as", "-march=armv8.6-a+fp16fml+bf16+i8mm+crypto+sha3+dotprod", "-o", folder / "a.o", folder / "a.s"
    )
    return folder / "a.o"


def classified(words: Sequence[str], folder: Path) -> list[str]:
    (folder / "words.c").write_text(
        '#include <stdio.h>\n#include "classify.h"\n'
        "int main(void) {\n    unsigned w;\n"
        '    while (scanf("%x", &w) == 1) puts(KIND_NAMES[classify(w)]);\n}\n'
    )
    sources = [folder / "words.c", counting.SOURCE / "classify.c"]
    counting.compile_c(sources, folder / "words", [f"-I{counting.SOURCE}"])
    done = subprocess.run([str(folder / "words")], input="\n".join(words), capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.slow
def test_every_kind_of_instruction_is_told(tmp_path: Path) -> None:
    wanted = [
        (kind, one.strip())
        for kind, lines in INSTRUCTIONS.items()
        for one in lines.replace("\n", ";").split(";")
        if one.strip()
    ]
    assert set(INSTRUCTIONS) == set(counting.KINDS)
    object_file = assembled("".join(f"{one}\n" for _, one in wanted), tmp_path)
    cross("objcopy", "-O", "binary", "-j", ".text", object_file, tmp_path / "a.bin")
    data = (tmp_path / "a.bin").read_bytes()
    words = [f"{int.from_bytes(data[k : k + 4], 'little'):08x}" for k in range(0, len(data), 4)]
    assert len(words) == len(wanted)
    got = classified(words, tmp_path)
    assert [(one, kind) for kind, one in wanted] == [
        (one, found) for (_, one), found in zip(wanted, got, strict=True)
    ]


@pytest.mark.slow
def test_a_program_of_known_counts(tmp_path: Path) -> None:
    cross("ld", "-o", tmp_path / "program", assembled(PROGRAM, tmp_path))
    whole, marked = counting.run("a76", [str(tmp_path / "program")], print)
    assert whole == {
        "dot": 2000, "fp": 1000 + 10, "simd": 1000, "load": 1000, "store": 1000, "branch": 1000 + 10 + 3,
        "other": 2 + 1000 + 1 + 1 + 10 + 1 + 3,
    }  # fmt: skip
    # The block that begins with the first mark is counted before it, that with the last one is counted whole.
    assert marked == [
        {"dot": 0, "fp": 10, "simd": 0, "load": 0, "store": 0, "branch": 10 + 1, "other": 10 + 4}
    ]


@pytest.mark.slow
def test_a_program_that_fails_is_an_error(tmp_path: Path) -> None:
    program = PROGRAM.replace("mov x0, #0\n", "mov x0, #7\n")
    cross("ld", "-o", tmp_path / "program", assembled(program, tmp_path))
    with pytest.raises(EdgekitError, match="exit 7") as raised:
        counting.run("a76", [str(tmp_path / "program")], print)
    assert raised.value.code == "EK501"
