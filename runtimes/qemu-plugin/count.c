/* A plugin for qemu-aarch64: how many instructions of each kind are executed, of one thread.
 *
 *   qemu-aarch64 -plugin libcount.so,out=FILE PROGRAM
 *
 * FILE becomes {"whole": {"dot": 0, ...}, "marked": [{...}, ...]}: of the whole run, and of each stretch between two
 * marks, which are instructions that do nothing on any processor (`edgekit-run bench` has them around an inference).
 * A block of instructions is counted as one when it is entered: what is counted costs next to nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "classify.h"
#include "interface.h"

#define EXPORTED __attribute__((visibility("default")))

/* HINT #126 and HINT #127; see runtimes/cpp/src/marks.h. */
enum { MARK_BEGIN = 0xd5032fdf, MARK_END = 0xd5032fff };
enum { MOST_MARKED = 4096 };

EXPORTED int qemu_plugin_version = INTERFACE_VERSION;

static uint64_t counted[KINDS], begun[KINDS], marked[MOST_MARKED][KINDS];
static size_t stretches;
static char out[4096];

static void begin(unsigned int processor, void *given) {
    (void)processor, (void)given;
    memcpy(begun, counted, sizeof begun);
}

static void end(unsigned int processor, void *given) {
    (void)processor, (void)given;
    if (stretches == MOST_MARKED) return;
    for (int kind = 0; kind < KINDS; ++kind) marked[stretches][kind] = counted[kind] - begun[kind];
    ++stretches;
}

static void translated(uint64_t id, struct qemu_plugin_tb *block) {
    (void)id;
    uint64_t there[KINDS] = {0};
    const size_t count = qemu_plugin_tb_n_insns(block);
    for (size_t i = 0; i < count; ++i) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(insn), sizeof word);
        ++there[classify(word)];
        if (word == MARK_BEGIN) qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, READS_NO_REGISTERS, NULL);
        if (word == MARK_END) qemu_plugin_register_vcpu_insn_exec_cb(insn, end, READS_NO_REGISTERS, NULL);
    }
    for (int kind = 0; kind < KINDS; ++kind)
        if (there[kind]) qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD_U64, &counted[kind], there[kind]);
}

static void print(FILE *file, const uint64_t *counts) {
    for (int kind = 0; kind < KINDS; ++kind)
        fprintf(file, "%s\"%s\": %" PRIu64, kind ? ", " : "{", KIND_NAMES[kind], counts[kind]);
    fputs("}", file);
}

static void ended(uint64_t id, void *given) {
    (void)id, (void)given;
    FILE *file = fopen(out, "w");
    if (!file) {
        perror(out);
        return;
    }
    fputs("{\"whole\": ", file);
    print(file, counted);
    fputs(", \"marked\": [", file);
    for (size_t i = 0; i < stretches; ++i) {
        if (i) fputs(", ", file);
        print(file, marked[i]);
    }
    fputs("]}\n", file);
    fclose(file);
}

EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments) {
    (void)info;
    if (count != 1 || strncmp(arguments[0], "out=", 4) != 0 || strlen(arguments[0] + 4) >= sizeof out) {
        fputs("libcount.so takes one argument, out=FILE\n", stderr);
        return -1;
    }
    strcpy(out, arguments[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
