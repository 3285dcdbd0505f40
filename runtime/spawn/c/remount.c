/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"
#include "text.h"
#include <string.h>

#define PICK_EMPTY_PATH 8
#define FSCONFIG_RECONFIGURE 7

/* Options of the superblock: all who have it mounted see the change. */
static int reconfigure(struct stage *st, int mount)
{
	const char *o = text_of(st, 3), *end = o + len_of(st, 3);
	int fs = (int)syscall(SYS_fspick, mount, "", PICK_EMPTY_PATH | 1);

	if (fs < 0)
		return -1;
	for (; o < end; o += strlen(o) + 1) {
		if (!*o || mount_option(fs, o) == 0)
			continue;
		say(st, "remount %s: option %s", text_of(st, 2), o);
		mount_reason(st, fs);
		return -1;
	}
	if (syscall(SYS_fsconfig, fs, FSCONFIG_RECONFIGURE, NULL, NULL, 0)) {
		mount_reason(st, fs);
		return -1;
	}
	return close(fs);
}

static int change(struct stage *st, int mount)
{
	struct k_mount_attr attr = {.set = st->step->a, .clr = st->step->b};
	unsigned flags = st->step->flags & STEP_ATTR_REC ? K_AT_RECURSIVE : 0;

	if (len_of(st, 3) && reconfigure(st, mount))
		return -1;
	if ((attr.set || attr.clr) && mount_change(st, mount, flags, &attr))
		return -1;
	return propagation_set(mount, st->step->c);
}

int do_remount(struct stage *st)
{
	int mount = path_open(st, text_of(st, 2), O_PATH);
	struct k_statx s;

	say(st, "remount %s", text_of(st, 2));
	if (mount < 0 || syscall(SYS_statx, mount, "", AT_EMPTY_PATH, K_STATX_BASIC, &s))
		return -1;
	if (!(s.attributes & K_STATX_MOUNT_ROOT)) {
		say(st, "remount %s: not a mount point", text_of(st, 2));
		errno = EINVAL;
		return -1;
	}
	return change(st, mount) ? -1 : close(mount);
}
