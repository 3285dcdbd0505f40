// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// namespacesOf makes namespaces of a process that waits, and returns what the
// files of these names in its /proc/PID/ns are.
func namespacesOf(t *testing.T, flags uintptr, names ...string) []*os.File {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 300000, Size: 1000}}
	cmd := exec.Command(busybox, "sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, UidMappings: ids, GidMappings: ids, Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	files := make([]*os.File, len(names))
	for i, name := range names {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, name))
		must(t, err)
		t.Cleanup(func() { f.Close() })
		files[i] = f
	}
	return files
}

// TestJoinedUserNamespace: a user namespace by path, with a pid namespace that
// is new or joined too.
func TestJoinedUserNamespace(t *testing.T) {
	w := newWorld(t, 16)
	idmaps := w.idmaps(t.TempDir()) == nil
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC)
	join := namespacesOf(t, flags, "user", "pid", "net", "ipc")
	const script = "cat /proc/self/uid_map | tr -s ' '; id -u; test $$ -eq 1; echo $?; cat /proc/1/comm; ls -ln /data/* | tr -s ' ' | cut -d' ' -f3,4,9"
	for name, c := range map[string]struct {
		host, enter []plan.Step
		fresh       uint64
		want        string
	}{
		"new pid": {
			enter: []plan.Step{{Op: plan.OpSetns, FD: 4, A: unix.CLONE_NEWUSER}, {Op: plan.OpRootUser}, {Op: plan.OpUnshare, A: unix.CLONE_NEWPID}, {Op: plan.OpFork}},
			fresh: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			want:  "0 300000 1000\n0\n0\nsh\n0 0 /data/roots\n65534 65534 /data/users",
		},
		"all joined": {
			host: []plan.Step{
				{Op: plan.OpSetns, FD: 5, A: unix.CLONE_NEWPID}, {Op: plan.OpSetns, FD: 6, A: unix.CLONE_NEWNET}, {Op: plan.OpSetns, FD: 7, A: unix.CLONE_NEWIPC},
			},
			enter: []plan.Step{{Op: plan.OpSetns, FD: 4, A: unix.CLONE_NEWUSER}, {Op: plan.OpRootUser}, {Op: plan.OpFork}},
			fresh: unix.CLONE_NEWNS | unix.CLONE_NEWUTS,
			want:  "0 300000 1000\n0\n1\nbusybox\n0 0 /data/roots\n65534 65534 /data/users",
		},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserns(t, script)
			u.host = append(c.host,
				plan.Step{Op: plan.OpIdmapHost, S: [4]string{"0 300000 1000", u.root, u.root, "0 300000 1000"}},
				plan.Step{Op: plan.OpSource, A: 3, FD: 4, S: [4]string{1: u.data}}) // idmapped by the joined one
			if !idmaps {
				u.shift(t, 300000)
				u.host = append(c.host, plan.Step{Op: plan.OpSource, A: 3, S: [4]string{1: u.data}})
			}
			u.enter, u.fresh = c.enter, c.fresh
			for _, kind := range []uint64{unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC} {
				u.files = append(u.files, plan.File{Kind: plan.FileNamespace, Path: "NS", NSType: kind})
			}
			got, e := w.outputWith(u.plan(), join)
			if got != c.want {
				t.Errorf("got\n%s (status %d)\nwant\n%s", got, e.Status, c.want)
			}
		})
	}
}

// TestNeighbourSeesNoStage: a container of the same user and pid namespaces has
// every capability over the stage of another, and still cannot look into it:
// there it would find the host.
func TestNeighbourSeesNoStage(t *testing.T) {
	w := newWorld(t, 16)
	join := namespacesOf(t, unix.CLONE_NEWUSER|unix.CLONE_NEWPID, "user", "pid")
	member := func(script string) *plan.Plan {
		u := newUserns(t, script)
		u.shift(t, 300000)
		u.host = []plan.Step{{Op: plan.OpSetns, FD: 5, A: unix.CLONE_NEWPID}, {Op: plan.OpSource, A: 3, S: [4]string{1: u.data}}}
		u.enter = []plan.Step{{Op: plan.OpSetns, FD: 4, A: unix.CLONE_NEWUSER}, {Op: plan.OpRootUser}, {Op: plan.OpFork}}
		u.files = append(u.files, plan.File{Kind: plan.FileNamespace}, plan.File{Kind: plan.FileNamespace})
		return u.plan()
	}
	stage := w.spawn(member("true"), append([]*os.File{nil, nil, nil}, join...)...)
	w.reach(stage, PointReady)
	got, _ := w.outputWith(member(`
for p in /proc/[0-9]*; do
	test "$(cat $p/comm)" = foundry-stage || continue
	echo found
	for f in root cwd exe fd/0 ns/mnt; do readlink $p/$f; done
	for f in $p/fd/* $p/map_files/* $p/root/*; do test -e $f -o -L $f && echo $f; done
	cat $p/environ $p/mem $p/auxv 2>/dev/null
done`), join)
	if got != "found" {
		t.Errorf("got %q, want that it is found and nothing else", got)
	}
	w.begin(stage)
	w.exit(stage)
}

// outputWith is output with the files of a plan after its three streams.
func (w *world) outputWith(p *plan.Plan, more []*os.File) (string, Exit) {
	w.t.Helper()
	r, out, err := os.Pipe()
	must(w.t, err)
	defer r.Close()
	proc := w.spawn(p, append([]*os.File{nil, out, out}, more...)...)
	out.Close()
	w.run(proc)
	text := new(strings.Builder)
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return strings.TrimSpace(text.String()), w.exit(proc)
}

// TestTimeNamespace: with a user namespace and without.
func TestTimeNamespace(t *testing.T) {
	w := newWorld(t, 16)
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skipf("SKIPPED: needs time namespaces: %v", err)
	}
	offsets := plan.Step{Op: plan.OpTime, S: [4]string{"monotonic 864000 5\nboottime 8640000 0"}}
	const script = "cat /proc/self/timens_offsets | tr -s ' '; cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children; cat /proc/$$/stat | cut -d' ' -f22"
	check := func(got string, e Exit) {
		t.Helper()
		lines := strings.Split(got, "\n")
		if e.Status != 0 || len(lines) != 6 || lines[0] != "monotonic 864000 5" || lines[1] != "boottime 8640000 0" {
			t.Fatalf("got %q, status %d", got, e.Status)
		}
		if len(lines[2]) < 7 || lines[2] < "8640000" {
			t.Errorf("uptime %s, want at least 8640000", lines[2])
		}
		if lines[3] != lines[4] {
			t.Errorf("in time namespace %s, children in %s", lines[3], lines[4])
		}
	}
	c := newContainer(t, "sh", "-c", script)
	p := c.plan(t)
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpUnshare {
			p.Steps[i].A |= unix.CLONE_NEWTIME
		}
	}
	offsets.FD = -1
	insertAfter(p, plan.OpUnshare, offsets)
	check(w.output(p, nil))

	u := w.userns(script)
	u.fresh |= unix.CLONE_NEWTIME
	p = u.plan()
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpLoopback {
			p.Steps = append(p.Steps[:i:i], append([]plan.Step{offsets}, p.Steps[i:]...)...)
			break
		}
	}
	check(w.output(p, nil))
	offsets.S[0] = "monotonic never 0"
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpTime {
			p.Steps[i] = offsets
		}
	}
	if _, err := w.failing(p); err == nil || err.Error() != `write timens_offsets "monotonic never 0": invalid argument` {
		t.Errorf("got %v", err)
	}
}

// failing is what goes wrong before the program of p runs.
func (w *world) failing(p *plan.Plan, files ...*os.File) (point Point, err error) {
	w.t.Helper()
	proc, err := w.try(p, files...)
	if err != nil { // in the intermediate of a fork
		return 0, err
	}
	for err == nil && point != PointExec {
		if point, err = proc.Sync(w.context()); err == nil && point != PointExec {
			must(w.t, proc.Go())
		}
	}
	w.exit(proc)
	return point, err
}

// TestUserNamespaceErrors: what goes wrong with users is told by name.
func TestUserNamespaceErrors(t *testing.T) {
	w := newWorld(t, 16)
	w.skipWithoutIdmap(t.TempDir())
	absent := filepath.Join(t.TempDir(), "absent")
	for name, c := range map[string]struct {
		change func(*userns)
		want   string // of the beginning
		errno  syscall.Errno
	}{
		"overlap": {func(u *userns) { u.enter[0].S[0] = "0 100000 10\n5 200000 10\n" },
			`write uid_map "0 100000 10, 5 200000 10": the ranges overlap, or the kernel takes fewer`, unix.EINVAL},
		"no count": {func(u *userns) { u.enter[0].S[1] = "0 1" },
			`write gid_map "0 1": the ranges overlap, or the kernel takes fewer`, unix.EINVAL},
		"map of a source": {func(u *userns) { u.host[1].S[3] = "0 1" },
			`write gid_map "0 1": the ranges overlap, or the kernel takes fewer`, unix.EINVAL},
		"absent source": {func(u *userns) { u.host[1].S[1] = absent },
			"open source " + absent + "", unix.ENOENT},
		"absent target": {func(u *userns) { u.host[0].S[2] = absent },
			"mount ROOT on " + absent + "", unix.ENOENT},
		"proc": {func(u *userns) { u.host[1].S[1] = "/proc/sys" },
			"/proc/sys cannot be idmapped: file system proc does not support it", unix.EINVAL},
		"many": {func(u *userns) {
			u.host[1] = plan.Step{Op: plan.OpSource, A: 3, Flags: plan.FlagRec | plan.FlagAttrRec, S: [4]string{idMap, "/", "", idMap}}
		},
			"/ cannot be idmapped: file system ", unix.EINVAL},
		"the host's messages": {func(u *userns) { u.fresh &^= unix.CLONE_NEWIPC },
			"mount mqueue on /dev/mqueue (the user namespace must own its ipc namespace)", unix.EPERM},
		"not mounted": {func(u *userns) { u.host = append(u.host, plan.Step{Op: plan.OpUnmountHost, S: [4]string{2: u.data}}) },
			"unmount DATA", unix.EINVAL},
		"devpts group": {func(u *userns) { u.enter[0].S[1] = "0 100000 5" },
			"mount devpts on /dev/pts", unix.EINVAL}, // how it goes on depends on the kernel
	} {
		t.Run(name, func(t *testing.T) {
			u := newUserns(t, "true")
			c.change(u)
			_, err := w.failing(u.plan())
			want := strings.NewReplacer("ROOT", u.root, "DATA", u.data).Replace(c.want)
			if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, c.errno) {
				t.Errorf("got  %v\nwant %s: %v", err, want, c.errno)
			}
		})
	}
}

// TestUserWithoutRoot: a user namespace that has no number 0.
func TestUserWithoutRoot(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("id -u; id -g; id -G")
	u.enter[0].S = [4]string{"5 100005 10", "7 100007 10"}
	p := u.plan()
	steps := p.Steps[:0]
	for _, s := range p.Steps {
		switch {
		case s.Op == plan.OpMount && (s.S[0] == "devpts" || s.S[0] == "tmpfs" || s.S[0] == "mqueue"), s.Op == plan.OpMknod:
			continue // made by a root that has no number
		case s.Op == plan.OpUser:
			s.A, s.B = 6, 8
		}
		steps = append(steps, s)
	}
	p.Steps = steps
	if got, e := w.output(p, nil); got != "6\n8\n8" {
		t.Errorf("got %q, status %d", got, e.Status)
	}
}

// TestUserNamespaceRefused: plans that would need rights that are gone, or
// forks at the wrong time.
func TestUserNamespaceRefused(t *testing.T) {
	w := newWorld(t, 16)
	last := execHost(busybox, "true")
	enter := plan.Step{Op: plan.OpMapUsers, FD: -1, S: [4]string{idMap, idMap}}
	mnt := plan.Step{Op: plan.OpUnshare, FD: -1, A: unix.CLONE_NEWNS}
	pid := plan.Step{Op: plan.OpUnshare, FD: -1, A: unix.CLONE_NEWPID}
	fork := plan.Step{Op: plan.OpFork, FD: -1}
	source := plan.Step{Op: plan.OpSource, FD: -1, S: [4]string{1: "/"}}
	bind := plan.Step{Op: plan.OpBind, FD: 0, Flags: plan.FlagSource, S: [4]string{2: "/x"}}
	root := plan.Step{Op: plan.OpRoot, FD: -1, S: [4]string{2: "/x"}}
	const rights, place = "needs the host's rights: must come before the user namespace", "would take the first place in the new pid namespace: must come before it is made"
	for _, c := range []struct {
		want  string
		steps []plan.Step
	}{
		{"step 1 (source, op 45): " + rights, []plan.Step{enter, source}},
		{"step 2 (idmapped mount, op 46): " + rights, []plan.Step{mnt, enter, {Op: plan.OpIdmapHost, FD: -1, S: [4]string{1: "/", 2: "/"}}}},
		{"step 2 (unmount, op 47): " + rights, []plan.Step{mnt, enter, {Op: plan.OpUnmountHost, FD: -1, S: [4]string{2: "/x"}}}},
		{"step 2 (mount, op 12): " + rights, []plan.Step{mnt, enter, {Op: plan.OpMountHost, FD: -1, S: [4]string{2: "/x"}}}},
		{"step 1 (oom score, op 5): " + rights, []plan.Step{enter, {Op: plan.OpOOMScore, FD: -1}}},
		{"step 1 (map users, op 42): " + rights, []plan.Step{enter, enter}},
		{"step 0 (root user, op 43): no user namespace was made or joined", []plan.Step{{Op: plan.OpRootUser, FD: -1}}},
		{"step 0 (time, op 44): would act on the host: a namespace or root step must come first", []plan.Step{{Op: plan.OpTime, FD: -1, S: [4]string{"boottime 1 0"}}}},
		{"step 0 (unmount, op 47): would act on the host: a namespace or root step must come first", []plan.Step{{Op: plan.OpUnmountHost, FD: -1, S: [4]string{2: "/x"}}}},
		{"step 1 (map users, op 42): " + place, []plan.Step{pid, enter}},
		{"step 1 (source, op 45): " + place, []plan.Step{pid, source}},
		{"step 1 (exec, op 40): a new pid namespace needs a fork before it", []plan.Step{pid}},
		{"step 2 (fork, op 3): second fork in one plan", []plan.Step{fork, pid, fork}},
		{"step 1 (fork, op 3): must come before the first sync point", []plan.Step{{Op: plan.OpHooks, FD: -1}, fork}},
		{"step 2 (bind, op 15): source that was not made, or is used already", []plan.Step{mnt, root, bind}},
		{"step 4 (bind, op 15): source that was not made, or is used already", []plan.Step{mnt, source, root, bind, bind}},
		{"step 1 (source, op 45): number of the source out of range, or in use", []plan.Step{source, source}},
		{"step 0 (source, op 45): number of the source out of range, or in use", []plan.Step{{Op: plan.OpSource, FD: -1, A: 512, S: [4]string{1: "/"}}}},
		{"step 0 (source, op 45): only one of the maps of users and groups", []plan.Step{{Op: plan.OpSource, FD: -1, S: [4]string{idMap, "/"}}}},
		{"step 0 (map users, op 42): not a map of ids", []plan.Step{{Op: plan.OpMapUsers, FD: -1, S: [4]string{"0 x 1"}}}},
		{"step 0 (map users, op 42): not a map of ids", []plan.Step{{Op: plan.OpMapUsers, FD: -1, S: [4]string{strings.Repeat("1 ", 2048)}}}},
		{"step 0 (map users, op 42): cannot be optional", []plan.Step{{Op: plan.OpMapUsers, Flags: plan.FlagOptional, FD: -1}}},
		{"step 0 (seccomp, op 35): unknown filter flag", []plan.Step{{Op: plan.OpSeccomp, FD: -1, A: 8, S: [4]string{"12345678"}}}},
	} {
		proc, err := w.try(&plan.Plan{Steps: append(c.steps, last)})
		if err == nil {
			t.Errorf("%s: made process %d", c.want, proc.Pid)
			continue
		}
		if got := strings.TrimPrefix(err.Error(), "spawn: "); got != c.want+": invalid argument" {
			t.Errorf("got  %q\nwant %q", got, c.want+": invalid argument")
		}
	}
}

// TestRootOfJoinedMounts: a mount namespace that is joined after the user
// namespace has the root, and without mounts of its own the stage leaves those
// of the host as they are.
func TestRootOfJoinedMounts(t *testing.T) {
	w := newWorld(t, 16)
	flags := uintptr(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)
	join := namespacesOf(t, flags, "user", "mnt")
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "root"), 0o755))
	p := &plan.Plan{Steps: []plan.Step{
		{Op: plan.OpUnshare, FD: -1, A: unix.CLONE_NEWNS},
		{Op: plan.OpPropagate, FD: -1, A: unix.MS_SLAVE | unix.MS_REC},
		{Op: plan.OpSetns, FD: 0, A: unix.CLONE_NEWUSER},
		{Op: plan.OpSetns, FD: 1, A: unix.CLONE_NEWNS},
		{Op: plan.OpRoot, FD: -1, S: [4]string{2: "/dev"}},
		execHost(busybox, "true"),
	}, Files: []plan.File{{Kind: plan.FileNamespace, NSType: unix.CLONE_NEWUSER}, {Kind: plan.FileNamespace, NSType: unix.CLONE_NEWNS}}}
	if _, err := w.failing(p, join...); err != nil {
		t.Errorf("got %v", err)
	}
	before := hostState(t)
	p = &plan.Plan{Steps: []plan.Step{
		{Op: plan.OpMapUsers, FD: -1, S: [4]string{idMap, idMap}}, {Op: plan.OpRootUser, FD: -1},
		{Op: plan.OpUnshare, FD: -1, A: unix.CLONE_NEWNS},
		{Op: plan.OpRoot, FD: -1, S: [4]string{2: "/dev"}},
		execHost(busybox, "sh", "-c", "test $(busybox id -u) = 0"),
	}}
	proc := w.spawn(p)
	w.run(proc)
	if e := w.exit(proc); e.Status != 0 {
		t.Errorf("got %+v, want status 0", e)
	}
	if after := hostState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
