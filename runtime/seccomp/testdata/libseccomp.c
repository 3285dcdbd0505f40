/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libseccomp makes of a filter, for libseccomp_test.go. Reads commands,
 * one a line, from standard input; answers on standard output:
 *
 *	numbers NAME            -> NUMBER... , one for each of archs below
 *	filter ACTION           start a filter with that default action
 *	arch INDEX              add an architecture; the first also removes the
 *	                        native one
 *	rule ACTION NAME COUNT (ARG OP A B)*
 *	end                     -> "INSTRUCTIONS ERROR\n" and the program; ERROR
 *	                        is the negative errno of the first rule refused
 */
#define _GNU_SOURCE
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const uint32_t archs[] = {
	SCMP_ARCH_X86, SCMP_ARCH_X86_64, SCMP_ARCH_X32, SCMP_ARCH_ARM,
	SCMP_ARCH_AARCH64, SCMP_ARCH_RISCV64, SCMP_ARCH_PPC64LE, SCMP_ARCH_S390X,
};
#define ARCHS (sizeof(archs) / sizeof(archs[0]))

static scmp_filter_ctx filter;
static int arch_count;
static int failed;

static void numbers(const char *name)
{
	for (size_t i = 0; i < ARCHS; i++)
		printf("%d ", seccomp_syscall_resolve_name_arch(archs[i], name));
	printf("\n");
}

static void add_arch(unsigned int index)
{
	int rc = 0;

	if (arch_count++ == 0 && archs[index] != seccomp_arch_native()) {
		rc = seccomp_arch_add(filter, archs[index]);
		/* The byte order of a filter is its first architecture's. */
		if (rc == -EDOM) {
			seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
			rc = seccomp_arch_add(filter, archs[index]);
		} else {
			seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
		}
	} else {
		rc = seccomp_arch_add(filter, archs[index]);
	}
	if (rc != 0 && rc != -EEXIST && !failed)
		failed = rc;
}

static void add_rule(char *line)
{
	static const enum scmp_compare ops[] = {
		SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE, SCMP_CMP_EQ,
		SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ,
	};
	struct scmp_arg_cmp args[6];
	unsigned long long a, b;
	unsigned int action, count, arg, op;
	char name[64];
	int used, nr, rc;

	if (sscanf(line, "%x %63s %u%n", &action, name, &count, &used) != 3)
		return;
	for (unsigned int i = 0; i < count && i < 6; i++) {
		line += used;
		if (sscanf(line, " %u %u %llu %llu%n", &arg, &op, &a, &b, &used) != 4)
			return;
		args[i] = (struct scmp_arg_cmp){arg, ops[op], a, b};
	}
	nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR)
		return;
	/*
	 * As a binary tree, which is what runc asks for when there are more
	 * than 32 rules. Without it libseccomp 2.5 forgets to load the call's
	 * number where the first call is one that an architecture lacks.
	 */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = seccomp_rule_add_array(filter, action, nr, count, args);
	if (rc != 0 && !failed)
		failed = rc;
}

static void end(void)
{
	static unsigned char program[1 << 20];
	int fd = memfd_create("program", 0);
	ssize_t size;

	seccomp_export_bpf(filter, fd);
	size = pread(fd, program, sizeof(program), 0);
	printf("%zd %d\n", size / 8, failed);
	fwrite(program, 8, size / 8, stdout);
	close(fd);
	seccomp_release(filter);
	filter = NULL;
}

int main(void)
{
	static char line[1 << 16];
	unsigned int n;
	char name[64];

	/* Some rules make libseccomp 2.5 loop for ever. */
	while (alarm(20), fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "numbers %63s", name) == 1) {
			numbers(name);
		} else if (sscanf(line, "filter %x", &n) == 1) {
			filter = seccomp_init(n);
			arch_count = failed = 0;
		} else if (sscanf(line, "arch %u", &n) == 1) {
			add_arch(n);
		} else if (strncmp(line, "rule ", 5) == 0) {
			add_rule(line + 5);
		} else if (strcmp(line, "end\n") == 0) {
			end();
		}
		fflush(stdout);
	}
	return 0;
}
