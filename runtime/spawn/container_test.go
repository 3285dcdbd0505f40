// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

func TestContainerRuns(t *testing.T) {
	w := newWorld(t, 16)
	for script, want := range map[string]string{
		"echo $$":                                "1",
		"echo $WHO":                              "test",
		"echo *":                                 "bin dev etc proc run sys tmp",
		"cat /proc/keys":                         "",
		"umask":                                  "0022",
		"echo /proc/self/fd/*":                   "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3", // 3: the shell's own
		"echo x 2>&1 >/proc/sys/kernel/hostname": "sh: can't create /proc/sys/kernel/hostname: Read-only file system",
		"exec cat /proc/self/oom_score_adj":      hostOOMScore(t),
		"readlink /dev/fd":                       "/proc/self/fd",
		"grep -E '^(SigBlk|SigIgn|SigCgt)' /proc/self/status | tr -s '\\t\\n' ' '": "SigBlk: 0000000000000000 SigIgn: 0000000000000000 SigCgt: 0000000000000000",
	} {
		got, e := w.output(newContainer(t, "sh", "-c", script).plan(t), nil)
		if got != want {
			t.Errorf("%s: got %q (status %d), want %q", script, got, e.Status, want)
		}
	}
}

// TestSignalsAreReset: what containerd, and so its shims, ignore is no concern of
// a container's. 32 is a signal that no libc lets anybody set, as a CI runner
// was seen to ignore.
func TestSignalsAreReset(t *testing.T) {
	const sigcancel = 32
	for _, n := range []syscall.Signal{syscall.SIGHUP, sigcancel} {
		if err := env.IgnoreSignal(n); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := env.ResetSignals(); err != nil {
			t.Error(err)
		}
	}()
	w := newWorld(t, 16)
	got, e := w.output(newContainer(t, "grep", "SigIgn", "/proc/self/status").plan(t), nil)
	if want := "SigIgn:\t0000000000000000"; strings.TrimSpace(got) != want {
		t.Errorf("got %q (status %d), want %q", got, e.Status, want)
	}
}

func hostOOMScore(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestExecIntoContainer(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	got, e := w.output(c.exec(t, specs.Process{}, "sh", "-c", "readlink /proc/1/exe; echo $$; exit 9"), init.Pidfd)
	lines := strings.Fields(got)
	if len(lines) != 2 || lines[0] != "/bin/busybox" || lines[1] == "1" || e.Status != 9 {
		t.Errorf("exec: got %q, status %d", got, e.Status)
	}
	long := w.enter(c.exec(t, specs.Process{}, "sleep", "1000"), init)
	if err := init.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// The kernel ends the namespace: the exec first, then its init.
	for _, p := range []*Process{long, init} {
		if e := w.exit(p); e.Status != 137 || e.Signal != 9 {
			t.Errorf("process %d: %+v, want status 137", p.Pid, e)
		}
	}
}

func TestExecIntoDeadContainer(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "true")
	init := w.spawn(c.plan(t))
	w.run(init)
	w.exit(init)
	exec := c.exec(t, specs.Process{}, "true")
	p, err := w.try(exec, filesOf(exec, nil, init.Pidfd)...)
	if err == nil {
		t.Fatalf("exec into a dead container made process %d", p.Pid)
	}
	if got, want := err.Error(), "join namespace pid net ipc uts mnt: no such process"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTerminal(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sh", "-c", "tty; stty size; readlink /proc/self/fd/2; ls -l /dev/console | cut -c1; echo hi >/dev/console; exec sleep 1000")
	c.spec.Process.Terminal = true
	c.spec.Process.ConsoleSize = &specs.Box{Height: 33, Width: 101}
	init := w.spawn(c.plan(t))
	expectTerminal(t, w, init, "/dev/pts/0", "33 101", "/dev/pts/0", "c", "hi")

	exec := w.enter(c.exec(t, specs.Process{Terminal: true}, "sh", "-c", "tty; cat; echo gone"), init)
	master := expectTerminal(t, w, exec, "/dev/pts/1")
	if _, err := master.WriteString("line\n\x04"); err != nil {
		t.Fatal(err)
	}
	expectLines(t, master, "line", "line", "gone")
	if e := w.exit(exec); e.Status != 0 {
		t.Errorf("exec: %+v", e)
	}
	hangup := w.enter(c.exec(t, specs.Process{Terminal: true}, "sleep", "1000"), init)
	expectTerminal(t, w, hangup).Close()
	if e := w.exit(hangup); e.Signal != int(syscall.SIGHUP) {
		t.Errorf("closing the master: %+v, want SIGHUP", e)
	}
}

// TestTerminalOfInit: below a pid 1 that stays, the program leads the
// terminal: it may read, and a key of the terminal ends it.
func TestTerminalOfInit(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sh", "-c", "echo $$; read x; echo got $x; exec cat")
	c.spec.Process.Terminal = true
	c.spec.Annotations = map[string]string{"foundry.init": "true"}
	p := w.spawn(c.plan(t))
	master := expectTerminal(t, w, p, "2")
	_, err := master.WriteString("word\n")
	must(t, err)
	expectLines(t, master, "word", "got word")
	_, err = master.WriteString("\x03")
	must(t, err)
	if e := w.exit(p); e.Status != 128+int(syscall.SIGINT) {
		t.Errorf("got %+v, want status 130", e)
	}
}

// expectTerminal takes the master of p, starts p and compares its first lines.
func expectTerminal(t *testing.T, w *world, p *Process, lines ...string) *os.File {
	t.Helper()
	w.reach(p, PointReady)
	master, err := p.TTY()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := p.Go(); err != nil {
		t.Fatal(err)
	}
	w.reach(p, PointExec)
	if _, err := p.TTY(); err == nil {
		t.Error("the terminal can be had after the start too: the process still holds the master")
	}
	expectLines(t, master, lines...)
	return master
}

func expectLines(t *testing.T, r *os.File, lines ...string) {
	t.Helper()
	in := bufio.NewReaderSize(oneByte{r}, 16)
	for _, want := range lines {
		got, err := in.ReadString('\n')
		if err != nil || strings.TrimRight(got, "\r\n") != want {
			t.Fatalf("terminal: got %q, %v; want %q", got, err, want)
		}
	}
}

// oneByte reads no further than it is asked to.
type oneByte struct{ f *os.File }

func (o oneByte) Read(b []byte) (int, error) { return o.f.Read(b[:1]) }

func TestCreatedContainerEndsBySignal(t *testing.T) {
	w := newWorld(t, 16)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.Signal(34), syscall.Signal(64), syscall.SIGKILL} {
		p := w.spawn(newContainer(t, "true").plan(t))
		w.reach(p, PointReady)
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_, err := p.Sync(w.context())
		if want := "process was killed before its program ran: operation canceled"; err == nil || err.Error() != want {
			t.Errorf("%v: sync: got %v, want %s", sig, err, want)
		}
		if e := w.exit(p); e.Status != 128+int(sig) {
			t.Errorf("%v: got %+v, want status %d", sig, e, 128+int(sig))
		}
		if err := p.Go(); err == nil {
			t.Errorf("%v: a dead process was let go", sig)
		}
	}
}

func TestSignalsThatEndNothing(t *testing.T) {
	w := newWorld(t, 16)
	p := w.spawn(newContainer(t, "true").plan(t))
	w.reach(p, PointReady)
	for _, sig := range []syscall.Signal{syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGCONT, syscall.SIGURG} {
		if err := p.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	w.begin(p)
	if e := w.exit(p); e.Status != 0 {
		t.Errorf("got %+v, want status 0", e)
	}
}

func TestHooks(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "cat", "/etc/made")
	c.facts.Hooks = true
	p := w.spawn(c.plan(t))
	w.reach(p, PointHooks)
	// A hook: it joins the container's namespaces by the pid, from outside.
	ns, err := os.Readlink(filepath.Join("/proc", itoa(p.Pid), "ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	if own, _ := os.Readlink("/proc/self/ns/net"); own == ns {
		t.Error("at the hooks the container has no network namespace of its own yet")
	}
	if err := os.WriteFile(filepath.Join(c.facts.Rootfs, "etc/made"), []byte("by a hook\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.Go(); err != nil {
		t.Fatal(err)
	}
	if err := p.Go(); err != nil { // twice is once: the next point still holds it
		t.Fatal(err)
	}
	w.reach(p, PointReady)
	w.begin(p)
	if e := w.exit(p); e.Status != 0 {
		t.Errorf("got %+v: what the hook made is not there", e)
	}
}

func TestInitStays(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		script string
		status int
	}{
		{"echo $$; (sleep 0.01 & exit); exit 5", 5},
		{"kill -9 $$", 137},
		{"trap 'exit 6' TERM; kill -TERM 1; while :; do sleep 0.01; done", 6},
	} {
		ct := newContainer(t, "sh", "-c", c.script)
		ct.spec.Annotations = map[string]string{"foundry.init": "true"}
		got, e := w.output(ct.plan(t), nil)
		if e.Status != c.status {
			t.Errorf("%s: status %d, want %d", c.script, e.Status, c.status)
		}
		if strings.HasPrefix(c.script, "echo") && got != "2" {
			t.Errorf("%s: got pid %q, want 2", c.script, got)
		}
	}
}
