// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// insertBefore puts steps before the first of op.
func insertBefore(p *plan.Plan, op plan.Op, steps ...plan.Step) {
	for i := range p.Steps {
		if p.Steps[i].Op == op {
			p.Steps = append(p.Steps[:i:i], append(steps, p.Steps[i:]...)...)
			return
		}
	}
	panic("no such step")
}

func without(p *plan.Plan, op plan.Op) {
	kept := p.Steps[:0]
	for _, s := range p.Steps {
		if s.Op != op {
			kept = append(kept, s)
		}
	}
	p.Steps = kept
}

// TestUserNamespaceTerminal: the terminal is the container's, of the init and
// of an exec.
func TestUserNamespaceTerminal(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("tty; ls -ln $(tty) | tr -s ' ' | cut -d' ' -f3,4; ls -l /dev/console | cut -c1; exec sleep 1000")
	p := u.plan()
	without(p, plan.OpDup)
	insertBefore(p, plan.OpPivot, plan.Step{Op: plan.OpTTY, FD: -1, Flags: plan.FlagConsole, A: 5})
	init := w.spawn(p, nil, nil, nil)
	expectTerminal(t, w, init, "/dev/pts/0", "0 5", "c")
	e := u.exec(allNamespaces, "tty; echo $$ >/dev/console")
	without(e, plan.OpDup)
	insertBefore(e, plan.OpUmask, plan.Step{Op: plan.OpTTY, FD: -1})
	insertBefore(e, plan.OpExec, plan.Step{Op: plan.OpReady, FD: -1})
	exec := w.spawn(e, nil, nil, nil, init.Pidfd)
	expectTerminal(t, w, exec, "/dev/pts/1")
	w.exit(exec)
}

// TestUserNamespaceInCgroup: the process that is forked is where the first one
// was born.
func TestUserNamespaceInCgroup(t *testing.T) {
	w := newWorld(t, 16)
	root := "/sys/fs/cgroup/unified"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		root = "/sys/fs/cgroup"
	}
	dir := makeGroup(t, root)
	f, err := os.Open(dir)
	must(t, err)
	defer f.Close()
	u := w.userns("cat /proc/self/cgroup | grep ^0; exec sleep 1000")
	r, out, err := os.Pipe()
	must(t, err)
	defer r.Close()
	p, err := w.client.Spawn(w.context(), Request{Key: w.keys.Add(1), Plan: u.plan(), Cgroup: f, Files: []*os.File{nil, out, out}})
	must(t, err)
	defer p.Close()
	out.Close()
	w.run(p)
	expectLines(t, r, "0::/")
	if got := groupsOf(t, p.Pid); !strings.Contains(got, "0::/"+filepath.Base(dir)+"\n") {
		t.Errorf("groups of the process:\n%s", got)
	}
	must(t, p.Signal(syscall.SIGKILL))
	w.exit(p)
}

func TestUserNamespaceOneShot(t *testing.T) {
	requireRoot(t)
	fifo := filepath.Join(t.TempDir(), "start")
	p, slots, err := once(t, newWorld(t, 4).userns("exit $(id -u)$$2").plan(), fifo, make([]*os.File, 3))
	must(t, err)
	w := &world{t: t}
	w.reach(p, PointReady)
	must(t, StartOneShot(context.Background(), slots, fifo))
	w.reach(p, PointExec)
	if status := reaped(t, p); status.ExitStatus() != 12 {
		t.Errorf("status %d, want 12", status.ExitStatus())
	}
}

// TestUserNamespaceOverlay: an overlay over idmapped layers, as a snapshotter
// asks for it.
func TestUserNamespaceOverlay(t *testing.T) {
	w := newWorld(t, 16)
	w.skipWithoutIdmap(t.TempDir())
	u := newUserns(t, "echo new >/etc/made; echo old >>/etc/there; cat /etc/*; ls -ln /etc/* | tr -s ' ' | cut -d' ' -f3,4")
	dir := t.TempDir()
	for _, name := range []string{"upper", "work", "rootfs"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		must(t, os.Chown(filepath.Join(dir, name), firstID, firstID))
	}
	lower := u.root
	must(t, os.WriteFile(filepath.Join(lower, "etc/there"), []byte("of the image\n"), 0o644))
	u.root = filepath.Join(dir, "rootfs")
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	u.host[0] = plan.Step{Op: plan.OpIdmapHost, A: unix.MOUNT_ATTR_RDONLY, S: [4]string{idMap, lower, lower, idMap}}
	u.host = append(u.host,
		plan.Step{Op: plan.OpMountHost, S: [4]string{"overlay", "overlay", u.root, options}},
		plan.Step{Op: plan.OpUnmountHost, S: [4]string{2: lower}})
	got, e := w.output(u.plan(), nil)
	if want := "new\nof the image\nold\n0 0\n0 0"; got != want {
		t.Errorf("got %q, status %d, want %q", got, e.Status, want)
	}
	if text, _ := os.ReadFile(filepath.Join(lower, "etc/there")); string(text) != "of the image\n" {
		t.Errorf("the lower layer was changed: %q", text)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "upper/etc/made"), &st); err != nil || st.Uid != firstID {
		t.Errorf("what the container made belongs to %d, %v; want %d", st.Uid, err, firstID)
	}
}

// TestUserNamespaceHostStays: with every capability that its namespace has, a
// container changes nothing of the host.
func TestUserNamespaceHostStays(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns(`
try() { "$@" >/dev/null 2>&1 && echo "did $*"; }
try busybox chmod 600 /dev/null
try busybox chown 0 /dev/null
try busybox mknod /x b 254 0
try cat /data/foreign
try busybox chown 0 /data/foreign
try busybox mount -t ext4 /dev/null /tmp
try busybox mount -t sysfs sysfs /tmp
try busybox renice -5 1
try busybox chroot /proc/1/root/.. cat /etc/hostname.of.the.host
for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname /proc/self/oom_score_adj; do
	( echo -500 >$f ) 2>/dev/null && echo "wrote $f"
done
echo done`)
	foreign := filepath.Join(u.data, "foreign")
	must(t, os.WriteFile(foreign, []byte("x"), 0o600))
	must(t, os.Chown(foreign, 700000, 700000))
	p := u.plan()
	without(p, plan.OpReadonly) // /proc/sys stays writable, as far as the namespace goes
	before := hostState(t)
	got, _ := w.output(p, nil)
	// Its host name is its own, but the file is of the host's root.
	if got != "done" {
		t.Errorf("got %q", got)
	}
	if after := hostState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func hostState(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, path := range []string{"/proc/self/mountinfo", "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern"} {
		text, err := os.ReadFile(path)
		must(t, err)
		out.Write(text)
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full"} {
		var st unix.Stat_t
		must(t, unix.Stat(path, &st))
		fmt.Fprintln(&out, path, st.Mode, st.Uid, st.Gid, st.Rdev)
	}
	return out.String()
}

// TestUserNamespaceRaisesLimits: a resource limit above that of the spawner.
func TestUserNamespaceRaisesLimits(t *testing.T) {
	w := newWorld(t, 16)
	const resource = 12 // RLIMIT_MSGQUEUE
	var limit unix.Rlimit
	must(t, unix.Getrlimit(resource, &limit))
	caps, err := strconv.ParseUint(statusOf(t, os.Getpid(), "CapEff:"), 16, 64)
	must(t, err)
	if limit.Max > 1<<62 || caps>>unix.CAP_SYS_RESOURCE&1 == 0 {
		t.Skipf("SKIPPED: needs CAP_SYS_RESOURCE, and a limit: %#x, %+v", caps, limit)
	}
	u := w.userns("grep msgqueue /proc/self/limits | tr -s ' ' | cut -d' ' -f4,5")
	p := u.plan()
	insertBefore(p, plan.OpChdir, plan.Step{Op: plan.OpRlimit, FD: -1, A: resource, B: limit.Max + 1, C: limit.Max + 2})
	if got, _ := w.output(p, nil); got != fmt.Sprint(limit.Max+1, limit.Max+2) {
		t.Errorf("got %q, want one and two more than %d", got, limit.Max)
	}
	init := w.spawn(w.userns("exec sleep 1000").plan())
	w.run(init)
	e := u.exec(allNamespaces, "grep msgqueue /proc/self/limits | tr -s ' ' | cut -d' ' -f4,5")
	insertBefore(e, plan.OpUmask, plan.Step{Op: plan.OpRlimit, FD: -1, A: resource, B: limit.Max + 1, C: limit.Max + 2})
	if got, _ := w.output(e, init.Pidfd); got != fmt.Sprint(limit.Max+1, limit.Max+2) {
		t.Errorf("exec: got %q, want one and two more than %d", got, limit.Max)
	}
}

// killChild kills pid if it is a child of the spawner: the number may be old.
func (w *world) killChild(pid int) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil && strings.Contains(string(text), "\nPPid:\t"+itoa(w.client.Pid())+"\n") {
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
}

// TestUserNamespaceKilledAnywhere: stages that are killed at any moment, aides
// and intermediates too, leave nothing.
func TestUserNamespaceKilledAnywhere(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("exit 3")
	p := u.plan()
	w.output(p, nil)
	before, hostBefore := w.count(), hostState(t)
	r := rand.New(rand.NewPCG(5, 6))
	page := w.client.slots.page(1)
	killed := 0
	for start := time.Now(); killed < 100 && time.Since(start) < 5*time.Second; {
		done, stop := make(chan struct{}), time.Duration(r.IntN(3000))*time.Microsecond
		go func() {
			defer close(done)
			time.Sleep(stop) // the moment is what the test is about
			w.killChild(int(atomic.LoadInt32(&page.Pid)))
		}()
		proc, err := w.client.Spawn(w.context(), Request{Key: w.keys.Add(1), Plan: p, Files: make([]*os.File, 3)})
		if err != nil {
			killed++
			<-done
			continue
		}
		for point := PointReady; err == nil && point != PointExec; {
			if point, err = proc.Sync(w.context()); err == nil && point != PointExec {
				err = proc.Go()
			}
		}
		if e := w.exit(proc); e.Status == 137 {
			killed++
		}
		<-done
		proc.Close()
	}
	t.Logf("%d killed", killed)
	eventually(t, "end of all children", func() bool { return w.count() == before })
	if list := w.list(); len(list) != 0 {
		t.Errorf("slots in use: %+v", list)
	}
	if after := hostState(t); after != hostBefore {
		t.Errorf("before:\n%s\nafter:\n%s", hostBefore, after)
	}
}
