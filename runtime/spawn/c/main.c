/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foundry-spawner -serve SLOTS READY -- SERVER...   start the server, serve it
 * foundry-spawner -attach SOCKET SLOTS              serve who holds the other end
 * foundry-spawner -resume STATE                     go on after an upgrade
 * foundry-spawner -oneshot ...                      see oneshot.c
 * foundry-spawner -versions                         print what it can resume from
 * Upper-case words are descriptor numbers.
 */
#include "fds.h"
#include "spawner.h"
#include "text.h"
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

_Noreturn void die(const char *what)
{
	char line[160];

	text_format(line, sizeof line, "foundry-spawner: %s: %s\n", what, strerror(errno));
	if (write(2, line, strlen(line)) < 0)
		_exit(126);
	_exit(125);
}

static int number(const char *s)
{
	long v = s ? text_number(s) : -1;

	if (v < 0 || fcntl((int)v, F_GETFD) < 0)
		errno = EBADF, die("descriptor argument");
	return (int)v;
}

int fill_low_numbers(void)
{
	int fd, null;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd < LOW_FDS);
	if (fd < 0)
		die("open /dev/null");
	null = fd;
	for (fd = 0; fd < 3; fd++)
		fd_set_cloexec(fd, 0);
	return null;
}

/* Whatever the caller ignored would stay ignored in every container. All is
 * blocked instead; who is born unblocks. */
void settle_signals(void)
{
	struct k_sigaction dfl = {.handler = SIG_DFL};
	sigset_t all;

	for (int n = 1; n <= 64; n++)
		syscall(SYS_rt_sigaction, n, &dfl, NULL, sizeof dfl.mask);
	memset(&all, 0xff, sizeof all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof dfl.mask);
}

void birthright_take(struct birthright *b, int proc)
{
	char text[16] = "";
	struct rlimit r;
	int fd = openat(proc, "self/oom_score_adj", O_RDWR | O_CLOEXEC);

	if (fd >= 0 && read(fd, text, sizeof text - 1) > 0) {
		text[strcspn(text, "\n")] = 0;
		b->oom_score = (int)(text[0] == '-' ? -text_number(text + 1) : text_number(text));
		/* Not permitted in many places; then the found score stays. */
		b->oom_changed = pwrite(fd, "-1000", 5, 0) == 5 || (b->oom_score > 0 && pwrite(fd, "0", 1, 0) == 1);
	}
	if (fd >= 0)
		close(fd);
	if (getrlimit(RLIMIT_NOFILE, &b->nofile))
		die("read RLIMIT_NOFILE");
	r = b->nofile;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

static struct spawner *settle(void)
{
	struct spawner *sp = mmap(NULL, sizeof *sp, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sp == MAP_FAILED || madvise(sp, sizeof *sp, MADV_DONTFORK))
		die("map memory");
	settle_signals();
	sp->null = fill_low_numbers();
	if (chdir("/"))
		die("chdir /");
	umask(022);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		die("become subreaper");
	prctl(PR_SET_NAME, "foundry-spawner");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	sp->proc = fd_above(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), LOW_FDS);
	if (sp->proc < 0)
		die("open /proc");
	sp->sock = sp->slots_fd = -1;
	return sp;
}

static void begin(struct spawner *sp, int slots)
{
	sp->slots_fd = slots;
	fd_set_cloexec(slots, 1);
	birthright_take(&sp->birth, sp->proc);
	slots_map(sp);
	slots_format(sp);
}

static int serve(char **argv)
{
	int slots = number(argv[0]), ready = number(argv[1]);
	struct spawner *sp;

	fds_keep_only((int[]){slots, ready}, 2);
	sp = settle();
	begin(sp, slots);
	server_start(sp, ready, argv + 3);
	loop_watch(sp);
	loop_run(sp);
}

static int attach(char **argv)
{
	int sock = number(argv[0]), slots = number(argv[1]);
	struct spawner *sp;

	fds_keep_only((int[]){sock, slots}, 2);
	sp = settle();
	begin(sp, slots);
	sp->sock = sock;
	fd_set_cloexec(sock, 1);
	loop_watch(sp);
	loop_run(sp);
}

static int resume(char **argv)
{
	struct msg to = {.arg = {WIRE_VERSION}};
	struct spawner *sp = settle();

	to.seq = upgrade_resume(sp, number(argv[0]));
	loop_watch(sp);
	hello(sp, &to);
	loop_run(sp);
}

int main(int argc, char **argv)
{
	if (argc > 5 && !strcmp(argv[1], "-serve") && !strcmp(argv[4], "--"))
		return serve(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "-attach"))
		return attach(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "-resume"))
		return resume(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "-oneshot"))
		return oneshot(argc - 2, argv + 2);
	if (argc == 2 && !strcmp(argv[1], "-versions"))
		return upgrade_versions();
	errno = EINVAL;
	die("arguments: -serve, -attach, -resume, -oneshot or -versions");
}
