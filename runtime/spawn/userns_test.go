// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

const (
	firstID = 100000
	idMap   = "0 100000 65536"
)

// userns is a container with a user namespace, step by step as a plan for one
// goes: what needs the host's rights, the namespace, then all else.
type userns struct {
	root, data string
	shifted    uint32 // by how much the owners on the disk differ from those inside
	host       []plan.Step
	enter      []plan.Step
	fresh      uint64
	files      []plan.File
	inside     []plan.Step // after the mounts
	args       []string
}

// newUserns is a container whose root belongs to the host's root, as an image
// on disk does, and is idmapped; likewise what it has on /data.
func newUserns(t testing.TB, script string) *userns {
	t.Helper()
	u := &userns{
		root: makeRootfs(t), data: t.TempDir(),
		fresh: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		files: []plan.File{{Kind: plan.FileStdin}, {Kind: plan.FileStdout}, {Kind: plan.FileStderr}},
		args:  []string{"sh", "-c", script},
	}
	must(t, os.Mkdir(filepath.Join(u.root, "data"), 0o755))
	must(t, os.WriteFile(filepath.Join(u.data, "roots"), []byte("of root\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(u.data, "users"), []byte("of a user\n"), 0o600))
	if os.Geteuid() == 0 { // else only the plan is of interest
		must(t, os.Chown(filepath.Join(u.data, "users"), 1000, 1001))
	}
	u.host = []plan.Step{
		{Op: plan.OpIdmapHost, S: [4]string{idMap, u.root, u.root, idMap}},
		{Op: plan.OpSource, A: 3, S: [4]string{idMap, u.data, "", idMap}},
	}
	u.enter = []plan.Step{{Op: plan.OpMapUsers, S: [4]string{idMap, idMap}}, {Op: plan.OpRootUser}, {Op: plan.OpUnshare, A: unix.CLONE_NEWPID}, {Op: plan.OpFork}}
	return u
}

func mountStep(kind, target string, options ...string) plan.Step {
	return plan.Step{Op: plan.OpMount, A: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC, S: [4]string{kind, kind, target, join(options)}}
}

func device(name string, minor uint32) plan.Step {
	return plan.Step{Op: plan.OpMknod, Flags: plan.FlagBindDev, A: unix.S_IFCHR | 0o666, B: unix.Mkdev(1, minor), S: [4]string{1: "/dev/" + name, 2: "/dev/" + name}}
}

func (u *userns) plan() *plan.Plan {
	steps := []plan.Step{{Op: plan.OpUnshare, A: unix.CLONE_NEWNS}, {Op: plan.OpPropagate, A: unix.MS_SLAVE | unix.MS_REC}}
	steps = append(steps, u.host...)
	steps = append(steps, u.enter...)
	steps = append(steps, plan.Step{Op: plan.OpUnshare, A: u.fresh})
	steps = append(steps,
		plan.Step{Op: plan.OpLoopback}, plan.Step{Op: plan.OpKeyring, S: [4]string{"_ses.test"}}, plan.Step{Op: plan.OpSetsid},
		plan.Step{Op: plan.OpDup, FD: 1, A: 0}, plan.Step{Op: plan.OpDup, FD: 2, A: 1}, plan.Step{Op: plan.OpDup, FD: 3, A: 2},
		plan.Step{Op: plan.OpHostname, S: [4]string{"inside"}},
		plan.Step{Op: plan.OpRoot, S: [4]string{2: u.root}},
		mountStep("proc", "/proc"),
		plan.Step{Op: plan.OpMount, A: unix.MOUNT_ATTR_NOSUID, S: [4]string{"tmpfs", "tmpfs", "/dev", join([]string{"mode=755", "size=65536k"})}},
		plan.Step{Op: plan.OpMount, A: unix.MOUNT_ATTR_NOSUID, S: [4]string{"devpts", "devpts", "/dev/pts", join([]string{"newinstance", "ptmxmode=0666", "mode=0620", "gid=5"})}},
		mountStep("mqueue", "/dev/mqueue"), mountStep("tmpfs", "/dev/shm", "mode=1777"),
		plan.Step{Op: plan.OpBind, Flags: plan.FlagSource, FD: 4, S: [4]string{2: "/data"}},
		device("null", 3), device("zero", 5), device("full", 7),
	)
	steps = append(steps, u.inside...)
	steps = append(steps, plan.Step{Op: plan.OpPivot},
		plan.Step{Op: plan.OpMask, S: [4]string{2: "/proc/kcore"}}, plan.Step{Op: plan.OpReadonly, S: [4]string{2: "/proc/sys"}})
	return &plan.Plan{Files: u.files, Steps: u.last(steps)}
}

// last adds what executes the program, and puts FD -1 where there is none: in
// the steps above FD is one more than the number.
func (u *userns) last(steps []plan.Step) []plan.Step {
	steps = append(steps,
		plan.Step{Op: plan.OpUmask, A: 0o22}, plan.Step{Op: plan.OpChdir, S: [4]string{"/"}},
		plan.Step{Op: plan.OpUser}, plan.Step{Op: plan.OpLookup, S: [4]string{u.args[0], "/bin"}},
		plan.Step{Op: plan.OpReady}, plan.Step{Op: plan.OpExec, S: [4]string{join(u.args), "PATH=/bin"}})
	for i := range steps {
		steps[i].FD--
	}
	return steps
}

// exec joins the container of init.
func (u *userns) exec(mask uint64, script string) *plan.Plan {
	e := &userns{args: []string{"sh", "-c", script}}
	steps := []plan.Step{
		{Op: plan.OpSetns, FD: 4, A: mask}, {Op: plan.OpRootUser}, {Op: plan.OpFork}, {Op: plan.OpSetsid},
		{Op: plan.OpDup, FD: 1, A: 0}, {Op: plan.OpDup, FD: 2, A: 1}, {Op: plan.OpDup, FD: 3, A: 2},
	}
	steps = e.last(steps)
	steps = append(steps[:len(steps)-2], steps[len(steps)-1])
	return &plan.Plan{Files: append(u.files[:3:3], plan.File{Kind: plan.FileTarget}), Steps: steps}
}

const allNamespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// idmaps says why the file system of dir cannot be idmapped.
func (w *world) idmaps(dir string) error {
	w.t.Helper()
	proc := w.spawn(&plan.Plan{Steps: []plan.Step{
		{Op: plan.OpUnshare, FD: -1, A: unix.CLONE_NEWNS},
		{Op: plan.OpSource, FD: -1, S: [4]string{idMap, dir, "", idMap}},
		execHost(busybox, "true"),
	}})
	_, err := proc.Sync(w.context())
	w.exit(proc)
	if err != nil && !strings.Contains(err.Error(), "cannot be idmapped") {
		w.t.Fatal(err)
	}
	return err
}

func (w *world) skipWithoutIdmap(dir string) {
	w.t.Helper()
	if err := w.idmaps(dir); err != nil {
		w.t.Skipf("SKIPPED: %v", err)
	}
}

// userns is newUserns, where nothing can be idmapped with files that belong to
// the container's users on the disk too.
func (w *world) userns(script string) *userns {
	w.t.Helper()
	u := newUserns(w.t, script)
	if err := w.idmaps(u.root); err == nil {
		return u
	}
	u.shift(w.t, firstID)
	u.host = []plan.Step{{Op: plan.OpSource, A: 3, S: [4]string{1: u.data}}}
	return u
}

// shift gives what is on the disk to the users that begin with first.
func (u *userns) shift(t testing.TB, first uint32) {
	t.Helper()
	u.shifted = first
	for _, dir := range []string{u.root, u.data} {
		must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			if err == nil {
				err = os.Lchown(path, int(st.Uid+first), int(st.Gid+first))
			}
			return err
		}))
	}
}

func TestUserNamespace(t *testing.T) {
	w := newWorld(t, 16)
	for script, want := range map[string]string{
		"echo $$; id -u; id -g; id -G; readlink /proc/self/exe":       "1\n0\n0\n0\n/bin/busybox",
		"cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '":       "0 100000 65536\n 0 100000 65536",
		"cat /proc/self/setgroups":                                    "allow",
		"ls -ln /data | tr -s ' ' | cut -d' ' -f3,4,9":                "0 0 roots\n1000 1001 users",
		"cat /data/roots /data/users":                                 "of root\nof a user",
		"ls -ldn /bin /dev /dev/pts/ptmx | tr -s ' ' | cut -d' ' -f3": "0\n0\n0",
		"ls -ln /dev/null /dev/zero | tr -s ' ' | cut -d' ' -f3":      "65534\n65534",
		"echo x >/dev/null; cat /dev/null; echo $?":                   "0",
		"cat /proc/sys/kernel/hostname":                               "inside",
		"cat /proc/self/status | grep -E '^Groups' | tr -d '\\t'":     "Groups:",
		"echo /proc/self/fd/*":                                        "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3",
	} {
		u := w.userns(script)
		if got, e := w.output(u.plan(), nil); got != want {
			t.Errorf("%s:\ngot  %q (status %d)\nwant %q", script, got, e.Status, want)
		}
	}
}

// TestUserNamespaceFromOutside: who the container's root is on the host, and
// whose is what it makes.
func TestUserNamespaceFromOutside(t *testing.T) {
	w := newWorld(t, 16)
	u := w.userns("echo mine >/data/made; echo mine >/made; exec sleep 1000")
	if _, err := os.Stat("/proc/self/ns/time"); err == nil { // it is for a moment, to set the offsets
		u.fresh |= unix.CLONE_NEWTIME
		u.inside = []plan.Step{{Op: plan.OpTime, S: [4]string{"boottime 1 0"}}}
	}
	p := w.spawn(u.plan())
	w.reach(p, PointReady)
	// Nobody but the host's root may look into the stage.
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/environ", p.Pid), &st); err != nil || st.Uid != 0 {
		t.Errorf("the stage belongs to %d, %v; want that it is not dumpable", st.Uid, err)
	}
	w.begin(p)
	eventually(t, "sleep", func() bool {
		exe, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
		return strings.HasPrefix(string(exe), "sleep")
	})
	if got := statusOf(t, p.Pid, "Uid:"); got != "100000 100000 100000 100000" {
		t.Errorf("uid on the host: %s", got)
	}
	for _, path := range []string{filepath.Join(u.data, "made"), filepath.Join(u.root, "made")} {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Uid != u.shifted || st.Gid != u.shifted {
			t.Errorf("%s belongs to %d:%d, %v; want %d on the disk", path, st.Uid, st.Gid, err, u.shifted)
		}
	}
	got, _ := w.output(u.exec(allNamespaces, "id -u; cat /data/users; echo $$ | tr 0-9 n | cut -c1; readlink /proc/1/exe"), p.Pidfd)
	if got != "0\nof a user\nn\n/bin/busybox" {
		t.Errorf("exec: got %q", got)
	}
	must(t, p.Signal(syscall.SIGKILL))
	w.exit(p)
	if n := w.header().Orphans; n != 0 {
		t.Errorf("%d orphans, want none", n)
	}
}

func statusOf(t *testing.T, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, field); found {
			return strings.Join(strings.Fields(rest), " ")
		}
	}
	return ""
}
