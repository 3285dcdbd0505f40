/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FOUNDRY_FDS_H
#define FOUNDRY_FDS_H

/* Closes every descriptor from 3 up that is not in keep, which gets sorted. */
void fds_keep_only(int *keep, int n);
/* Moves fd to a free number from floor up, close-on-exec. */
int fd_above(int fd, int floor);
int fd_set_cloexec(int fd, int on);
#endif
