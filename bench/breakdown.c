// SPDX-License-Identifier: GPL-2.0-only
/*
 * breakdown: a QEMU plugin that counts the instructions of a window by kernel function.
 *
 * -plugin breakdown.so,map=System.map,out=FILE
 *
 * A window is opened and closed by two long nops that do nothing else (range.h: window_open()).
 * Each closed window appends lines "<window> <function> <instructions>" to the output file.
 * Instructions outside of the kernel are those of "user".
 *
 * QEMU's plugin header is in no Debian package; the few declarations needed are repeated here. They
 * are those of plugin interface 1 (QEMU 4.2 to 8.2).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { OP_INLINE_ADD_U64 };
enum { CB_NO_REGS };

struct qemu_plugin_tb;
struct qemu_plugin_insn;

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id,
					   void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data), int flags,
					    void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr,
						uint64_t imm);

EXPORT int qemu_plugin_version = 1;

static struct function {
	uint64_t start, count, opened;
	char name[56];
} *functions;

static size_t nr_functions;
static const char *out_path;
static int window;

/* nopl 0x4e45504f(%rax) and nopl 0x45534c43(%rax) */
static const uint8_t open_nop[] = { 0x0f, 0x1f, 0x80, 'O', 'P', 'E', 'N' };
static const uint8_t close_nop[] = { 0x0f, 0x1f, 0x80, 'C', 'L', 'S', 'E' };

static void open_window(unsigned int cpu, void *data)
{
	for (size_t i = 0; i < nr_functions; i++)
		functions[i].opened = functions[i].count;
}

static void close_window(unsigned int cpu, void *data)
{
	FILE *f = fopen(out_path, window ? "a" : "w");

	for (size_t i = 0; f && i < nr_functions; i++) {
		uint64_t n = functions[i].count - functions[i].opened;

		if (n)
			fprintf(f, "%d %s %lu\n", window, functions[i].name, n);
	}
	if (f)
		fclose(f);
	window++;
}

static struct function *function_at(uint64_t addr)
{
	size_t lo = 0, hi = nr_functions, mid;

	while (hi - lo > 1) {
		mid = lo + (hi - lo) / 2;
		if (functions[mid].start <= addr)
			lo = mid;
		else
			hi = mid;
	}
	return &functions[lo];
}

static bool is_nop(const struct qemu_plugin_insn *insn, const uint8_t *nop)
{
	return qemu_plugin_insn_size(insn) == sizeof(open_nop) &&
	       !memcmp(qemu_plugin_insn_data(insn), nop, sizeof(open_nop));
}

static void translate(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct function *f = function_at(qemu_plugin_insn_vaddr(insn));

		if (is_nop(insn, open_nop))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, open_window, CB_NO_REGS, NULL);
		else if (is_nop(insn, close_nop))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, close_window, CB_NO_REGS,
							       NULL);
		else
			qemu_plugin_register_vcpu_insn_exec_inline(insn, OP_INLINE_ADD_U64,
								   &f->count, 1);
	}
}

static bool read_map(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512], type;
	size_t room = 1;

	functions = calloc(room, sizeof(*functions));
	functions[nr_functions++] = (struct function) { .name = "user" };
	while (f && fgets(line, sizeof(line), f)) {
		struct function next = {};

		if (sscanf(line, "%lx %c %55s", &next.start, &type, next.name) != 3 ||
		    !strchr("tTwW", type) || next.start <= functions[nr_functions - 1].start)
			continue;
		if (nr_functions == room)
			functions = realloc(functions, sizeof(*functions) * (room *= 2));
		functions[nr_functions++] = next;
	}
	if (f)
		fclose(f);
	return nr_functions > 1;
}

EXPORT int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	const char *map = NULL;

	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "map=", 4))
			map = argv[i] + 4;
		if (!strncmp(argv[i], "out=", 4))
			out_path = strdup(argv[i] + 4);
	}
	if (!map || !out_path || !read_map(map)) {
		fprintf(stderr, "breakdown: map=System.map,out=FILE are needed\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	return 0;
}
