/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts that need the host's rights: copies of host paths, idmapped or not,
 * that are taken before a user namespace is entered. A copy that is not
 * attached anywhere may be attached in any mount namespace made later.
 */
#include "aide.h"
#include "fds.h"
#include "text.h"
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

/* The aide is in the namespace, and sends it: to open that of another process
 * is a right over all processes of the host. */
static int send_userns(struct stage *st, struct aide *a)
{
	char self[16] = "", byte;
	int fd = openat(st->proc, "self/ns/user", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || proc_self(st, self, sizeof self) || aide_send(a, self, sizeof self, fd))
		return errno;
	(void)!aide_receive(a, &byte, 1, NULL); /* the stage needs its name until the maps are written */
	return 0;
}

static int receive_userns(struct stage *st, const struct aide *a, const char *uids, const char *gids)
{
	char name[16];
	int fd;

	if (aide_receive(a, name, sizeof name, &fd) || maps_write(st, name, uids, gids))
		return -1;
	return fd_above(fd, LOW_FDS);
}

/* A user namespace that has the maps; the last one made is kept, for most
 * mounts of a container have the same. */
static int userns_of(struct stage *st, const char *uids, const char *gids)
{
	struct aide a;
	int fd, err;

	if (st->idmap >= 0 && !strcmp(uids, st->idmap_uids) && !strcmp(gids, st->idmap_gids))
		return st->idmap;
	if (st->idmap >= 0)
		close(st->idmap);
	st->idmap = -1;
	say(st, "make user namespace");
	if (aide_start(st, &a, NS_USER, send_userns)) {
		userns_refused(st);
		return -1;
	}
	fd = receive_userns(st, &a, uids, gids);
	err = errno;
	aide_end(&a);
	errno = err;
	if (fd < 0)
		return -1;
	st->idmap_uids = uids;
	st->idmap_gids = gids;
	return st->idmap = fd;
}

static const struct {
	uint32_t magic;
	const char *name, *since; /* since: the first Linux that idmaps it */
} kinds[] = {
	{0xef53, "ext4", "5.12"},     {0x58465342, "xfs", "5.12"},  {0x4d44, "vfat", "5.12"},      {0x9123683e, "btrfs", "5.15"},
	{0xf2f52010, "f2fs", "5.18"}, {0xe0f5e1e2, "erofs", "5.19"}, {0x73717368, "squashfs", "6.2"}, {0x01021994, "tmpfs", "6.3"},
	{0x00c36400, "ceph", "6.7"},  {0x65735546, "fuse", "6.12"}, {0x794c7630, "overlay", NULL}, {0x6969, "nfs", NULL},
	{0x9fa0, "proc", NULL},       {0x62656572, "sysfs", NULL},  {0x01021997, "9p", NULL},      {0x63677270, "cgroup2", NULL},
	{0x1cd1, "devpts", NULL},     {0xfe534d42, "cifs", NULL},
};

static void say_not_idmapped(struct stage *st, int tree, bool all)
{
	const char *name = NULL, *since = NULL;
	struct statfs fs = {0};

	fstatfs(tree, &fs);
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].magic == (uint32_t)fs.f_type)
			name = kinds[i].name, since = kinds[i].since;
	say(st, "%s cannot be idmapped: %s%s%s does not support it%s%s", text_of(st, 1), name ? "file system " : "its file system",
	    name ? name : "", all ? ", or one mounted below," : "", since ? ", or needs Linux >= " : "", since ? since : "");
}

static int idmap(struct stage *st, int tree)
{
	bool all = st->step->flags & STEP_ATTR_REC;
	struct k_mount_attr attr = {.set = K_ATTR_IDMAP};
	int userns, err;

	if (st->step->fd < 0 && !len_of(st, 0))
		return 0;
	userns = st->step->fd >= 0 ? st->files[st->step->fd] : userns_of(st, text_of(st, 0), text_of(st, 3));
	if (userns < 0)
		return -1;
	attr.userns = (uint64_t)userns;
	say(st, "idmap %s", text_of(st, 1));
	if (mount_attr(tree, all ? K_AT_RECURSIVE : 0, &attr) == 0)
		return 0;
	err = errno;
	if (err == EINVAL)
		say_not_idmapped(st, tree, all);
	if (err == ENOSYS)
		say(st, "idmap %s: needs Linux >= 5.12", text_of(st, 1));
	errno = err;
	return -1;
}

/* A detached copy of what is at host path S1. */
static int open_host(struct stage *st)
{
	unsigned flags = K_OPEN_TREE_CLONE | O_CLOEXEC | (st->step->flags & STEP_REC ? K_AT_RECURSIVE : 0);

	say(st, "open source %s", text_of(st, 1));
	return fd_above((int)syscall(SYS_open_tree, AT_FDCWD, text_of(st, 1), flags), LOW_FDS);
}

static int copy_host(struct stage *st)
{
	int tree = open_host(st);

	return tree < 0 || idmap(st, tree) ? -1 : tree;
}

static bool enters_users(struct stage *st)
{
	const struct plan *p = st->plan;

	for (const struct plan_step *s = st->step; s < p->steps + p->nsteps; s++)
		if (s->op == OP_MAP_USERS || (s->op == OP_SETNS && s->a & NS_USER))
			return true;
	return false;
}

static int send_mounts(struct stage *st, struct aide *a)
{
	int fd = openat(st->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC);

	return fd < 0 || aide_send(a, "", 1, fd) ? errno : 0;
}

/*
 * A copy of the mount namespace that other users own. In it the kernel has
 * locked what the host has set: a mount that is read-only, or that covers
 * something, stays so for whoever has rights in the container. Copies made of
 * its mounts keep that; those of the stage's own namespace would have no locks,
 * and with an id map or without one be mounted where they can be undone.
 */
static int make_locked(struct stage *st)
{
	struct aide a;
	char byte;
	int err;

	say(st, "copy mount namespace");
	st->own_mounts = fd_above(openat(st->proc, "self/ns/mnt", O_RDONLY | O_CLOEXEC), LOW_FDS);
	if (st->own_mounts < 0)
		return -1;
	if (aide_start(st, &a, NS_USER | NS_MNT, send_mounts)) {
		userns_refused(st);
		return -1;
	}
	if (aide_receive(&a, &byte, 1, &st->locked_mounts))
		st->locked_mounts = -1;
	err = errno;
	if (aide_end(&a) == 0)
		errno = err;
	return st->locked_mounts < 0 || (st->locked_mounts = fd_above(st->locked_mounts, LOW_FDS)) < 0 ? -1 : 0;
}

static int visit(struct stage *st)
{
	int tree, err;

	if (st->locked_mounts < 0 && make_locked(st))
		return -1;
	say(st, "enter copy of the mount namespace");
	if (setns(st->locked_mounts, (int)NS_MNT))
		return -1;
	tree = open_host(st);
	err = errno;
	if (tree < 0 && err == EINVAL && !(st->step->flags & STEP_REC))
		say(st, "open source %s: something is mounted below it, which a user namespace cannot leave out (use rbind)", text_of(st, 1));
	if (setns(st->own_mounts, (int)NS_MNT)) {
		err = errno;
		say(st, "return to the mount namespace");
		stage_fail(st, err); /* an optional source too: nothing after it would be where it belongs */
	}
	errno = err;
	return tree;
}

void sources_done(struct stage *st)
{
	if (st->locked_mounts >= 0)
		close(st->locked_mounts);
	if (st->own_mounts >= 0)
		close(st->own_mounts);
	st->locked_mounts = st->own_mounts = -1;
}

int do_source(struct stage *st)
{
	struct source *s = &st->sources[st->step->a];

	s->fd = enters_users(st) ? visit(st) : open_host(st);
	s->path = text_of(st, 1);
	return s->fd < 0 || idmap(st, s->fd) ? -1 : 0;
}

int do_idmap_host(struct stage *st)
{
	struct k_mount_attr attr = {.set = st->step->a};
	int tree = copy_host(st), target;

	if (tree < 0)
		return -1;
	say(st, "mount %s on %s: set attributes", text_of(st, 1), text_of(st, 2));
	if (attr.set && mount_attr(tree, st->step->flags & STEP_ATTR_REC ? K_AT_RECURSIVE : 0, &attr))
		return -1;
	say(st, "mount %s on %s", text_of(st, 1), text_of(st, 2));
	target = open(text_of(st, 2), O_PATH | O_CLOEXEC);
	if (target < 0 || mount_move(tree, target))
		return -1;
	close(target);
	close(tree);
	return 0;
}

int do_unmount_host(struct stage *st)
{
	say(st, "unmount %s", text_of(st, 2));
	return umount2(text_of(st, 2), MNT_DETACH);
}
