/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner: parent of the server and of every container process, hook and
 * logger. Single-threaded; everything it knows is one struct in memory that no
 * forked child gets (MADV_DONTFORK), beside the slots in their file.
 */
#ifndef FOUNDRY_SPAWNER_H
#define FOUNDRY_SPAWNER_H
#include "check.h"
#include "kernel.h"
#include "wire.h"
#include <stdbool.h>
#include <sys/resource.h>

#define MAX_SLOTS 65536u
#define MAX_HELD 32768u
#define CHAINS 4096u /* a power of two */
#define LOW_FDS 16   /* numbers below are never given to a received descriptor, see PLAN_MAX_DUP */

/* What the spawner keeps to itself about a slot. */
enum own_flags {
	OWN_LIVE = 1,      /* a process that is not reaped yet */
	OWN_FORKING = 2,   /* pid is the intermediate of an OP_FORK */
	OWN_CHILD_DONE = 4, /* the child of a living intermediate was reaped; pidfd is open */
	OWN_TELL_SPAWNED = 8,
	OWN_TELL_EXITED = 16,
	OWN_FAILED = 32,   /* TELL_SPAWNED is about the failure of the stage; the slot is free after it */
};
struct own {
	uint64_t key;
	int32_t pid, pidfd;
	uint32_t seq, flags;
	uint32_t next_pid, next_key; /* chains of equal hash, 0 ends */
};

struct held {
	uint64_t key, tag;
	int32_t fd, pad;
};

/* What children get back that the spawner changed for itself at its start. */
struct birthright {
	int32_t oom_score;    /* as found */
	int32_t oom_changed;  /* the spawner wrote a lower one */
	struct rlimit nofile; /* as found */
};

struct spawner {
	int sock, slots_fd, sig, ep, proc, null;
	pid_t server; /* 0: it was not started by this spawner, or is gone */
	bool hello, stop, waiting_to_write;
	struct birthright birth;
	uint32_t nslots; /* with page 0 */
	uint32_t live, untold, forking, nheld;
	char *pages;
	struct msg answer; /* the one that the socket did not take yet */
	int answer_fds[WIRE_MAX_FDS];
	bool answer_waits, answer_closes;
	uint64_t used[MAX_SLOTS / 64];
	struct own own[MAX_SLOTS];
	uint32_t by_pid[CHAINS], by_key[CHAINS];
	struct held held[MAX_HELD];
};

/* main.c */
_Noreturn void die(const char *what);
void settle_signals(void);
int fill_low_numbers(void); /* returns a /dev/null above them */

/* slots.c */
void slots_map(struct spawner *sp);
void slots_format(struct spawner *sp);
struct slot_header *slots_header(struct spawner *sp);
struct slot *slot_page(struct spawner *sp, uint32_t n);
uint32_t slot_reserve(struct spawner *sp, uint64_t key);
void slot_adopt(struct spawner *sp, uint32_t n);
void slot_set_pid(struct spawner *sp, uint32_t n, pid_t pid);
void slot_release(struct spawner *sp, uint32_t n);
uint32_t slot_by_pid(struct spawner *sp, pid_t pid);
uint32_t slot_by_key(struct spawner *sp, uint64_t key);
uint32_t slot_next_used(struct spawner *sp, uint32_t from);
uint64_t now_ns(void);

/* loop.c */
_Noreturn void loop_run(struct spawner *sp);
void loop_watch(struct spawner *sp);
void server_gone(struct spawner *sp);

/* message.c */
struct request {
	struct msg m;
	int fds[WIRE_MAX_FDS];
	int nfds;
};
void messages_read(struct spawner *sp);
void messages_flush(struct spawner *sp);
void answer(struct spawner *sp, const struct msg *m, const int *fds);
void answer_giving(struct spawner *sp, const struct msg *m, int fd);
void answer_done(struct spawner *sp, const struct msg *to, int err, const char *text);
bool message_send(struct spawner *sp, const struct msg *m, const int *fds);
void close_all(int *fds, int n);

/* tell.c */
void tell(struct spawner *sp, uint32_t n, uint32_t flag);
void tell_all(struct spawner *sp);
void list_next(struct spawner *sp, struct request *r);

/* spawn.c */
void spawn(struct spawner *sp, struct request *r);
void spawn_refuse(struct spawner *sp, const struct msg *to, int err, const char *text);
int plan_map(int fd, uint64_t len, const void **map);

/* adopt.c */
void adopt(struct spawner *sp, struct request *r);

/* reap.c */
void reap_all(struct spawner *sp);

/* held.c */
void hold(struct spawner *sp, struct request *r);
void drop(struct spawner *sp, struct request *r);
void fetch(struct spawner *sp, struct request *r);

/* upgrade.c */
void upgrade(struct spawner *sp, struct request *r);
/* Returns the number of the request that asked for the upgrade. */
uint32_t upgrade_resume(struct spawner *sp, int state);
int upgrade_versions(void);

/* server.c */
void server_start(struct spawner *sp, int ready, char **argv);
void hello(struct spawner *sp, const struct msg *to);

/* oneshot.c */
int oneshot(int argc, char **argv);
void birthright_take(struct birthright *b, int proc);

#endif
