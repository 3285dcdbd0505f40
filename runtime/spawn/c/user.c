/* SPDX-License-Identifier: Apache-2.0 */
/* Who the process is. Plain system calls: those of the libc would ask all
 * threads of a process that is not the one it knows. */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int set_groups(struct stage *st)
{
	uint32_t n = len_of(st, 0) / 4;

	if (syscall(SYS_setgroups, (size_t)n, text_of(st, 0)) == 0)
		return 0;
	/* An unprivileged user namespace forbids the call; to have none is then
	 * as good as to set none. */
	return errno == EPERM && n == 0 && syscall(SYS_getgroups, 0, NULL) == 0 ? 0 : -1;
}

/* A program may open /dev/stdout again by name, which asks for the owner of the
 * pipe. Best effort: in a user namespace the user may have no name outside. */
static void give_stdio(unsigned uid)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat s;

		if (fstat(fd, &s) || s.st_uid == uid || (S_ISCHR(s.st_mode) && s.st_rdev == makedev(1, 3)))
			continue;
		(void)!fchown(fd, uid, (gid_t)-1);
	}
}

int do_user(struct stage *st)
{
	unsigned uid = (unsigned)st->step->a, gid = (unsigned)st->step->b;

	give_stdio(uid);
	say(st, "set groups");
	if (set_groups(st))
		return -1;
	say(st, "set gid %d", (long)gid);
	if (syscall(SYS_setresgid, gid, gid, gid))
		return -1;
	say(st, "set uid %d", (long)uid);
	if (syscall(SYS_setresuid, uid, uid, uid))
		return -1;
	/* Where fs.suid_dumpable is 1 the change of user undid it; processes of
	 * the same user must not get at this one. */
	return prctl(PR_SET_DUMPABLE, 0);
}

int do_keep_caps(struct stage *st)
{
	say(st, "keep capabilities");
	return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

int do_bound(struct stage *st)
{
	for (int cap = 0; cap < 64; cap++) {
		if (st->step->a >> cap & 1 || prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL) /* the kernel knows no more */
			return 0;
		say(st, "drop capability %d from the bounding set", (long)cap);
		return -1;
	}
	return 0;
}

static int raise_ambient(struct stage *st)
{
	uint64_t mask = 0;

	if (len_of(st, 0))
		memcpy(&mask, text_of(st, 0), sizeof mask);
	for (int cap = 0; cap < 64; cap++)
		if (mask >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0)) {
			say(st, "raise ambient capability %d", (long)cap);
			return -1;
		}
	return 0;
}

int do_caps(struct stage *st)
{
	struct {
		uint32_t version;
		int pid;
	} head = {0x20080522, 0};
	uint64_t effective = st->step->a, permitted = st->step->b, inheritable = st->step->c;
	uint32_t data[6] = {
		(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable,
		(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32),
	};

	say(st, "set capabilities");
	if (syscall(SYS_capset, &head, data))
		return -1;
	return raise_ambient(st);
}
