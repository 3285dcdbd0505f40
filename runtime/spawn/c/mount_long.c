/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsconfig(2) takes values of at most 255 bytes, and the lowerdir of an overlay
 * of many layers is longer. mount(2) takes a page of options; its target is
 * the current directory, so it goes by descriptor all the same.
 */
#include "stage.h"
#include "text.h"
#include <string.h>
#include <sys/mount.h>

#define VALUE_MAX 255

bool mount_is_long(struct stage *st)
{
	const char *o = text_of(st, 3), *end = o + len_of(st, 3);

	for (; o < end; o += strlen(o) + 1) {
		const char *eq = strchr(o, '=');

		if (eq && strlen(eq + 1) > VALUE_MAX)
			return true;
	}
	return false;
}

/* mount(2)'s flags for mount attributes; four of them are the same bits. */
static unsigned long classic(uint64_t attr)
{
	unsigned long flags = attr & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);

	if ((attr & K_ATTR_ATIME) == 0x10)
		flags |= MS_NOATIME;
	if ((attr & K_ATTR_ATIME) == 0x20)
		flags |= MS_STRICTATIME;
	if (attr & 0x80)
		flags |= MS_NODIRATIME;
	if (attr & 0x200000)
		flags |= 256; /* MS_NOSYMFOLLOW */
	return flags;
}

static int join_options(struct stage *st, char *data, size_t size)
{
	const char *o = text_of(st, 3), *end = o + len_of(st, 3);
	size_t n = 0;

	for (; o < end; o += strlen(o) + 1) {
		size_t len = strlen(o);

		if (!len || !strcmp(o, "ro")) /* that is a flag here */
			continue;
		if (n + len + 2 > size) {
			errno = E2BIG;
			return -1;
		}
		if (n)
			data[n++] = ',';
		memcpy(data + n, o, len);
		n += len;
	}
	data[n] = 0;
	return 0;
}

int mount_long(struct stage *st, int target)
{
	const char *type = text_of(st, 0), *source = len_of(st, 1) ? text_of(st, 1) : type;
	char data[4096];
	int mounted;

	if (join_options(st, data, sizeof data) || fchdir(target) ||
	    mount(source, ".", type, classic(st->step->a), data) || chdir("/"))
		return -1;
	close(target);
	mounted = path_open(st, text_of(st, 2), O_PATH | O_DIRECTORY);
	if (mounted < 0 || propagation_set(mounted, st->step->c))
		return -1;
	close(mounted);
	return 0;
}
