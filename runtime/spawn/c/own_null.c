/* SPDX-License-Identifier: Apache-2.0 */
#include "stage.h"

/*
 * A stream that nobody asked for came as a read-only copy of the host's null
 * device. Where the container has one of its own it gets that, so that its
 * name in /proc/self/fd is /dev/null. The path is the container's, which may
 * have put anything there: nothing is waited for, and what is no null device
 * is let go of again.
 */
void own_null(void)
{
	int fd = -1;

	for (int std = 0; std < 3; std++) {
		if (!path_is_char(std, 1, 3))
			continue;
		if (fd < 0)
			fd = open("/dev/null", O_RDWR | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || !path_is_char(fd, 1, 3))
			break;
		dup2(fd, std);
	}
	if (fd >= 0) {
		fcntl(fd, F_SETFL, 0);
		close(fd);
	}
}
