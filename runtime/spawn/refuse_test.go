// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestStageErrors: what a failed step is told as.
func TestStageErrors(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		name   string
		change func(*container)
		want   string // ROOT is the root's path
		op     plan.Op
		errno  syscall.Errno
	}{
		{"absent program", func(c *container) { c.spec.Process.Args = []string{"nosuch"} },
			`exec "nosuch": executable file not found in $PATH: no such file or directory`, plan.OpLookup, unix.ENOENT},
		{"absent path", func(c *container) { c.spec.Process.Args = []string{"/bin/nosuch"} },
			`exec "/bin/nosuch": no such file or directory`, plan.OpLookup, unix.ENOENT},
		{"no execute permission", func(c *container) {
			c.spec.Process.Args = []string{"plain"}
			_ = os.WriteFile(filepath.Join(c.facts.Rootfs, "bin/plain"), nil, 0o644)
		}, `exec "plain": permission denied`, plan.OpLookup, unix.EACCES},
		{"a directory", func(c *container) { c.spec.Process.Args = []string{"/tmp"} },
			`exec "/tmp": permission denied`, plan.OpLookup, unix.EACCES},
		{"absent root", func(c *container) { c.facts.Rootfs = "/nosuch/rootfs" },
			"open root /nosuch/rootfs: no such file or directory", plan.OpRoot, unix.ENOENT},
		{"absent bind source", func(c *container) { c.mount("bind", "/nosuch", "/mnt", "rbind") },
			"bind /nosuch on /mnt: open source: no such file or directory", plan.OpBind, unix.ENOENT},
		{"unknown file system", func(c *container) { c.mount("nosuchfs", "x", "/mnt") },
			"mount nosuchfs on /mnt: no such device", plan.OpMount, unix.ENODEV},
		{"bad mount option", func(c *container) { c.mount("tmpfs", "x", "/mnt", "size=huge") },
			"mount tmpfs on /mnt: option size=huge (tmpfs: Bad value for 'size'): invalid argument", plan.OpMount, unix.EINVAL},
		{"mount on a file", func(c *container) { c.mount("tmpfs", "x", "/bin/busybox") },
			"mount tmpfs on /bin/busybox: open target: not a directory", plan.OpMount, unix.ENOTDIR},
		{"proc through a link", func(c *container) {
			_ = os.Remove(filepath.Join(c.facts.Rootfs, "proc"))
			_ = os.Symlink("tmp", filepath.Join(c.facts.Rootfs, "proc"))
		}, "mount proc on /proc: open target: too many levels of symbolic links", plan.OpMount, unix.ELOOP},
		{"unknown sysctl", func(c *container) { c.spec.Linux.Sysctl = map[string]string{"net.ipv4.nosuch": "1"} },
			"open /proc/sys/net/ipv4/nosuch: no such file or directory", plan.OpSysctl, unix.ENOENT},
		{"hard limit above ours", func(c *container) {
			c.spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1 << 40, Hard: 1 << 40}}
		}, "set rlimit 7: operation not permitted", plan.OpRlimit, unix.EPERM},
	} {
		t.Run(c.name, func(t *testing.T) {
			ct := newContainer(t, "true")
			c.change(ct)
			p := w.spawn(ct.plan(t))
			_, err := p.Sync(w.context())
			var stage *StageError
			if !errors.As(err, &stage) {
				t.Fatalf("got %v, want a StageError", err)
			}
			if got := stage.Error(); got != c.want || stage.Op != c.op || stage.Errno != c.errno {
				t.Errorf("got %q of %s (%v)\nwant %q of %s (%v)", got, stage.Op, stage.Errno, c.want, c.op, c.errno)
			}
			if e := w.exit(p); e.Status != 1 {
				t.Errorf("a failed stage: %+v, want status 1", e)
			}
			if _, again := p.Sync(w.context()); again == nil || again.Error() != err.Error() {
				t.Errorf("after the exit: got %v, want the same error", again)
			}
		})
	}
}

func (c *container) mount(kind, source, target string, options ...string) {
	c.spec.Mounts = append(c.spec.Mounts, specs.Mount{Type: kind, Source: source, Destination: target, Options: options})
}

// TestRefusedPlans: what never becomes a process.
func TestRefusedPlans(t *testing.T) {
	w := newWorld(t, 16)
	last := execHost("/bin/busybox", "true")
	step := func(s plan.Step) *plan.Plan { s.FD = -1; return &plan.Plan{Steps: []plan.Step{s, last}} }
	for want, p := range map[string]*plan.Plan{
		"step 0 (umask, op 28): mask out of range":                                                   step(plan.Step{Op: plan.OpUmask, A: 0o1000}),
		"step 0 (propagate, op 11): would act on the host: a namespace or root step must come first": step(plan.Step{Op: plan.OpPropagate, A: unix.MS_SLAVE | unix.MS_REC}),
		"step 0 (hostname, op 24): would act on the host: a namespace or root step must come first":  step(plan.Step{Op: plan.OpHostname, S: [4]string{"x"}}),
		"step 0 (loopback, op 26): would act on the host: a namespace or root step must come first":  step(plan.Step{Op: plan.OpLoopback}),
		"step 0 (sysctl, op 23): not a path below /proc/sys":                                         step(plan.Step{Op: plan.OpSysctl, S: [4]string{"../uptime", "1"}}),
		"step 0 (chdir, op 29): NUL inside a string":                                                 step(plan.Step{Op: plan.OpChdir, S: [4]string{"/a\x00b"}}),
		"step 0 (chdir, op 29): path is not absolute":                                                step(plan.Step{Op: plan.OpChdir, S: [4]string{"tmp"}}),
		"step 0 (setsid, op 7): string that this step does not take":                                 step(plan.Step{Op: plan.OpSetsid, S: [4]string{"x"}}),
		"step 0 (setsid, op 7): unknown flag":                                                        step(plan.Step{Op: plan.OpSetsid, Flags: 1}),
		"step 0 (dup, op 8): descriptor missing":                                                     step(plan.Step{Op: plan.OpDup}),
		"step 0 (seccomp, op 35): not a filter":                                                      step(plan.Step{Op: plan.OpSeccomp, S: [4]string{"1234567"}}),
		"step 0 (exec, op 40): must be the last step":                                                step(last),
		"step 0 (umask, op 28): the last step must execute something":                                {Steps: []plan.Step{{Op: plan.OpUmask, FD: -1}}},
		"step 0 (fork, op 3): the parent of a new pid namespace cannot be left by a fork":            {Clone: unix.CLONE_NEWPID, Steps: []plan.Step{{Op: plan.OpFork, FD: -1}, last}},
		"plan: clone makes user and pid namespaces only":                                             {Clone: unix.CLONE_NEWNET, Steps: []plan.Step{last}},
		"plan: number of steps out of range":                                                         {},
		"step 0 (exec, op 39): would act on the host: a namespace or root step must come first":      {Steps: []plan.Step{{Op: plan.OpExec, FD: -1, S: [4]string{"x"}}}},
		"step 0 (exec, op 40): empty list":                                                           {Steps: []plan.Step{{Op: plan.OpExecHost, FD: -1, S: [4]string{2: "/x"}}}},
		"step 0 (mount, op 14): would act on the host: a namespace or root step must come first":     step(plan.Step{Op: plan.OpMount, S: [4]string{"tmpfs", "", "/x"}}),
		"step 0 (unshare, op 2): not a set of namespaces":                                            step(plan.Step{Op: plan.OpUnshare, A: unix.CLONE_VM}),
	} {
		proc, err := w.try(p)
		if err == nil {
			t.Errorf("%s: made process %d", want, proc.Pid)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "spawn: "); got != want+": invalid argument" {
			t.Errorf("got  %q\nwant %q", got, want+": invalid argument")
		}
	}
	select {
	case e := <-w.exits:
		t.Errorf("a refused plan has an exit: %+v", e)
	default:
	}
}

// TestUnknownStep: a step that the spawner lacks is refused by both ends.
func TestUnknownStep(t *testing.T) {
	w := newWorld(t, 16)
	p := &plan.Plan{Steps: []plan.Step{{Op: plan.OpCount, FD: -1}, execHost("/bin/busybox", "true")}}
	_, err := w.try(p)
	if !errors.Is(err, unix.ENOSYS) || !strings.Contains(err.Error(), "needs an upgrade") {
		t.Errorf("client: got %v, want ENOSYS", err)
	}
	w.client.mu.Lock()
	w.client.ops = [2]uint64{^uint64(0), ^uint64(0)}
	w.client.mu.Unlock()
	p.Steps[0].Op = 100
	if err := w.client.missing(p); err == nil {
		t.Error("a step without a name was let pass")
	}
}

func TestSpawnerRefusesUnknownStep(t *testing.T) {
	w := newWorld(t, 16)
	p := &plan.Plan{Steps: []plan.Step{{Op: plan.OpCount, FD: -1}, execHost("/bin/busybox", "true")}}
	body, err := Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	f, err := sealed("plan", body, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := msg{Type: msgSpawn, Key: 1}
	m.Arg[0] = uint64(len(body))
	var r reply
	err = w.client.withFDs([]*os.File{f, f}, func(fds []int) error {
		r, err = w.client.ask(w.context(), &m, fds, nil)
		return err
	})
	want := "step 0 (unknown, op " + itoa(int(plan.OpCount)) + "): this spawner does not know the step; it needs an upgrade: function not implemented"
	if err != nil || r.err() == nil || r.err().Error() != want {
		t.Errorf("got %v, %v\nwant %s", err, r.err(), want)
	}
}
