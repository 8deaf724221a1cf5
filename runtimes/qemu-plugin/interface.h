/* The part of QEMU's plugin interface, version 1 (QEMU 4.2 to 8.2), that counting takes; Debian has no package with
 * QEMU's own header. QEMU refuses a plugin of a version that it does not speak. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define INTERFACE_VERSION 1

struct qemu_plugin_tb;   /* a block of instructions, as it is translated */
struct qemu_plugin_insn; /* one of them */

enum { INLINE_ADD_U64 = 0 };
enum { READS_NO_REGISTERS = 0 };

typedef void (*on_translation)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*on_execution)(unsigned int processor, void *given);
typedef void (*on_exit)(uint64_t id, void *given);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, on_translation call);
void qemu_plugin_register_atexit_cb(uint64_t id, on_exit call, void *given);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int what, void *where, uint64_t amount);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, on_execution call, int flags, void *given);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
