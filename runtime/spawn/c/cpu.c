/* SPDX-License-Identifier: Apache-2.0 */
/* When and where the process runs: scheduler, I/O priority, CPUs, memory
 * nodes; and what it takes the kernel for (personality). */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/personality.h>

/* The head of struct sched_attr, whose tail is the kernel's to know. */
struct sched_head {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
};

static const char *policy_name(uint32_t policy)
{
	static const char *const names[] = {"SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "unknown", "SCHED_IDLE", "SCHED_DEADLINE"};

	return policy < sizeof names / sizeof *names ? names[policy] : "unknown";
}

static const char *scheduler_remedy(int err)
{
	switch (err) {
	case EPERM:
		return " (needs CAP_SYS_NICE; a deadline, all CPUs of its cpuset)";
	case EBUSY:
		return " (the CPUs have not that much time left for deadlines)";
	case E2BIG:
		return " (needs a newer kernel)";
	case EINVAL:
		return " (unknown to this kernel, or a value out of range)";
	}
	return "";
}

int do_scheduler(struct stage *st)
{
	struct sched_head h;
	int err;

	memcpy(&h, text_of(st, 0), sizeof h);
	if (syscall(SYS_sched_setattr, 0, text_of(st, 0), 0) == 0)
		return 0;
	err = errno;
	say(st, "set scheduler %s, nice %d, priority %d%s", policy_name(h.policy), (long)h.nice, (long)h.priority, scheduler_remedy(err));
	errno = err;
	return -1;
}

#define IOPRIO_PROCESS 1

int do_io_priority(struct stage *st)
{
	long class = (long)(st->step->a >> 13), level = (long)(st->step->a & 7);

	if (syscall(SYS_ioprio_set, IOPRIO_PROCESS, 0, (int)st->step->a) == 0)
		return 0;
	say(st, "set I/O priority, class %d, level %d%s", class, level, errno == EPERM ? " (needs CAP_SYS_NICE)" : "");
	return -1;
}

int do_personality(struct stage *st)
{
	say(st, "set personality %d", (long)st->step->a);
	return personality((unsigned long)st->step->a) < 0 ? -1 : 0;
}

int do_affinity(struct stage *st)
{
	if (syscall(SYS_sched_setaffinity, 0, (size_t)len_of(st, 0), text_of(st, 0)) == 0)
		return 0;
	say(st, "set CPU affinity%s", errno == EINVAL ? " (none of these CPUs is in the cpuset of the container)" : "");
	return -1;
}

/* The kernel reads one bit less than it is told. */
int do_mem_policy(struct stage *st)
{
	unsigned long bits = st->step->b ? (unsigned long)st->step->b + 1 : 0;
	uint64_t mask[PLAN_MAX_NODES / 64] = {0}; /* aligned, in whole words */

	memcpy(mask, text_of(st, 0), len_of(st, 0));
	if (syscall(SYS_set_mempolicy, (int)st->step->a, bits ? mask : NULL, bits) == 0)
		return 0;
	say(st, "set memory policy %d%s", (long)(st->step->a & 0xff),
	    errno == EINVAL ? " (unknown to this kernel, or none of these nodes is in the cpuset of the container)" : "");
	return -1;
}
