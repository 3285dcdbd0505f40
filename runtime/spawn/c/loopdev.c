/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of image files. The loop device is told to vanish with its last user
 * (autoclear): that is the mount, once the descriptor here is closed.
 */
#include "stage.h"
#include "fds.h"
#include "text.h"
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define LOOP_GET_FREE 0x4C82
#define LOOP_CONFIG 0x4C0A
#define LOOP_READ_ONLY 1u
#define LOOP_AUTOCLEAR 4u
#define TRIES 256 /* each is a race lost against another mounter */

struct loop_config {
	uint32_t fd, block_size;
	uint64_t device, inode, rdevice, offset, sizelimit;
	uint32_t number, encrypt_type, encrypt_key_size, flags;
	uint8_t file_name[64], crypt_name[64], encrypt_key[32];
	uint64_t init[2], reserved[8];
};

/* A file that nobody may write to is mounted read-only, as mount(8) does it. */
static int open_image(const char *path, bool *readonly)
{
	int fd = *readonly ? -1 : open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (!*readonly && (fd >= 0 || (errno != EROFS && errno != EACCES && errno != EPERM && errno != ETXTBSY)))
		return fd;
	*readonly = true;
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* A free device, open; its name goes to name. */
static int open_free(int control, struct loop_device *d)
{
	long n = ioctl(control, LOOP_GET_FREE);

	if (n < 0)
		return -1;
	text_format(d->name, sizeof d->name, "/dev/loop%d", n);
	return open(d->name, (d->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
}

static int configure(int control, int image, struct loop_device *d)
{
	struct loop_config c = {.fd = (uint32_t)image, .flags = LOOP_AUTOCLEAR | (d->readonly ? LOOP_READ_ONLY : 0)};

	for (int i = 0; i < TRIES; i++) {
		int err;

		d->fd = open_free(control, d);
		if (d->fd >= 0 && ioctl(d->fd, LOOP_CONFIG, &c) == 0)
			return 0;
		err = errno;
		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
		errno = err;
		if (err != EBUSY && err != ENXIO) /* taken, or removed, since it was free */
			return -1;
	}
	return -1;
}

/* The mount has it now, or nobody. */
void loop_leave(struct stage *st)
{
	if (st->loop.fd >= 0)
		close(st->loop.fd);
	st->loop.fd = -1;
}

int loop_attach(struct stage *st, const char *path, bool readonly)
{
	struct loop_device *d = &st->loop;
	int control, image, result, err;
	struct stat s;

	loop_leave(st); /* of an optional mount that failed */
	d->readonly = readonly;

	say(st, "open image %s", path);
	image = open_image(path, &d->readonly);
	if (image < 0 || fstat(image, &s))
		return -1;
	if (!S_ISREG(s.st_mode)) {
		say(st, "open image %s: not a regular file", path);
		errno = EINVAL;
		return -1;
	}
	say(st, "open /dev/loop-control for image %s (needs the loop driver)", path);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return -1;
	say(st, "attach image %s to a loop device", path);
	result = configure(control, image, d);
	err = errno;
	close(control);
	close(image);
	errno = err;
	return result;
}
