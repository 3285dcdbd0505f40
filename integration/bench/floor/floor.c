// SPDX-License-Identifier: Apache-2.0
// floor: the least that one container life can cost on this kernel: clone3 with every namespace, the usual mounts, pivot_root,
// execve of a static program, exit, wait; with -c, also making, joining and removing its cgroups. Nothing else: no JSON, no RPC.
//   floor [-n RUNS] [-g GAP_MS] [-h] [-2 CGROUP2_DIR] [-c CGROUP1_DIR]... ROOTFS
//   -h  host network namespace      -g  idle time between lives (a cold cgroup v1 attach waits for an RCU grace period)
//   -2  clone3(CLONE_INTO_CGROUP) into a fresh child of this v2 directory     -c  join a fresh child of this v1 directory
// ROOTFS needs /bin/true (static), /proc, /sys, /dev. Prints mean, p50, p90, min in milliseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MUST(x) must((x), #x)

static void must(long r, const char *what) {
	if (r < 0) { perror(what); _exit(9); }
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void inside(const char *root, int gate) {
	char c;
	if (gate >= 0) (void)!read(gate, &c, 1);
	MUST(mount(0, "/", 0, MS_REC | MS_SLAVE, 0));
	MUST(mount(root, root, 0, MS_BIND | MS_REC, 0));
	MUST(chdir(root));
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
	mkdir("dev/pts", 0755), mkdir("dev/shm", 01777), mkdir("dev/mqueue", 0777);
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	MUST(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
	MUST(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, 0));
	static const struct { const char *name; int major, minor; } dev[] = {
		{"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0}};
	for (unsigned i = 0; i < 6; i++) MUST(mknod(dev[i].name, S_IFCHR | 0666, makedev(dev[i].major, dev[i].minor)));
	MUST(sethostname("floor", 5));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	static const char *ro[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
	for (unsigned i = 0; i < 5; i++)
		if (!mount(ro[i], ro[i], 0, MS_BIND | MS_REC, 0)) mount(0, ro[i], 0, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_REC, 0);
	static const char *masked[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list"};
	for (unsigned i = 0; i < 3; i++) mount("/dev/null", masked[i], 0, MS_BIND, 0);
	execl("/bin/true", "true", (char *)0);
	_exit(8);
}

int main(int argc, char **argv) {
	int runs = 100, gap = 0, hostnet = 0, n1 = 0, o;
	const char *v1[16], *v2 = 0;
	while ((o = getopt(argc, argv, "n:g:h2:c:")) != -1) switch (o) {
		case 'n': runs = atoi(optarg); break;
		case 'g': gap = atoi(optarg); break;
		case 'h': hostnet = 1; break;
		case '2': v2 = optarg; break;
		case 'c': if (n1 < 16) v1[n1++] = optarg; break;
		default: return 64;
	}
	if (optind >= argc || runs < 1) return 64;
	double *took = calloc(runs, sizeof *took), sum = 0;
	for (int i = 0; i < runs; i++) {
		char dir[17][512], file[600], pid[16];
		int gate[2] = {-1, -1}, fd = -1, status;
		if (gap) usleep(gap * 1000);
		double t = now();
		for (int k = 0; k < n1; k++) snprintf(dir[k], 512, "%s/floor-%d-%d", v1[k], getpid(), i), MUST(mkdir(dir[k], 0755));
		if (v2) snprintf(dir[16], 512, "%s/floor-%d-%d", v2, getpid(), i), MUST(mkdir(dir[16], 0755)), MUST(fd = open(dir[16], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		if (n1) MUST(pipe2(gate, O_CLOEXEC));
		struct clone_args a = {.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | (hostnet ? 0 : CLONE_NEWNET) | (v2 ? CLONE_INTO_CGROUP : 0),
			.exit_signal = SIGCHLD, .cgroup = v2 ? fd : 0};
		pid_t p = syscall(SYS_clone3, &a, sizeof a);
		MUST(p);
		if (!p) inside(argv[optind], gate[0]);
		for (int k = 0; k < n1; k++) {
			snprintf(file, sizeof file, "%s/cgroup.procs", dir[k]);
			int f = open(file, O_WRONLY | O_CLOEXEC), l = snprintf(pid, sizeof pid, "%d", p);
			MUST(f); MUST(write(f, pid, l)); close(f);
		}
		if (n1) MUST(write(gate[1], "", 1)), close(gate[0]), close(gate[1]);
		MUST(waitpid(p, &status, 0));
		if (status) { fprintf(stderr, "life %d ended with status %x\n", i, status); return 1; }
		for (int k = 0; k < n1; k++) while (rmdir(dir[k]) < 0 && errno == EBUSY) usleep(50);
		if (v2) { close(fd); while (rmdir(dir[16]) < 0 && errno == EBUSY) usleep(50); }
		sum += took[i] = now() - t;
	}
	qsort(took, runs, sizeof *took, by_value);
	printf("lives %d mean %.3f p50 %.3f p90 %.3f min %.3f ms\n", runs, sum / runs, took[runs / 2], took[runs * 9 / 10], took[0]);
}
