// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

func TestUsers(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"RemapLabels", remapLabels},
		{"RemappedSnapshot", remappedSnapshot},
		{"Process", usersProcess},
		{"Pod", usersPod},
		{"Volume", mappedVolume},
		{"Hooks", usersHooks},
		{"TimeOffsets", timeOffsets},
	} {
		s.run(t, d)
	}
}

const mappedTo = 100000

func idMaps() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: mappedTo, Size: 65536}}
}

// ctr runs the command line client to its end.
func ctr(t *testing.T, d *env.Daemon, args ...string) string {
	t.Helper()
	args = append([]string{"-a", d.Address, "-n", d.Namespace}, args...)
	cmd := exec.Command(filepath.Join(env.Tools(t), "ctr"), args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ctr %q: %v\n%s", args, err, errs.String())
	}
	return out.String()
}

const aboutUsers = "id -u; cat /proc/self/uid_map; stat -c %u:%g /bin/busybox; touch /new; stat -c %u:%g /new"

func wantUsers(t *testing.T, got string) {
	t.Helper()
	if want := fmt.Sprintf("0 0 %d 65536 0:0 0:0", mappedTo); strings.Join(strings.Fields(got), " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The snapshotter hands over its layers as they are, to be mapped when they are
// mounted.
func remapLabels(t *testing.T, d *env.Daemon) {
	maps := fmt.Sprintf("0:%d:65536", mappedTo)
	wantUsers(t, ctr(t, d, "run", "--rm", "--runtime", env.Runtime(), "--snapshotter", "overlayfs", "--remap-labels",
		"--uidmap", maps, "--gidmap", maps, env.ImageName, "remapped", "/bin/sh", "-c", aboutUsers))
	if points := mountsOf(t, "remapped"); points != "" {
		t.Errorf("left mounted:\n%s", points)
	}
}

// The snapshotter has changed the owners of a copy.
func remappedSnapshot(t *testing.T, d *env.Daemon) {
	maps := fmt.Sprintf("0:%d:65536", mappedTo)
	wantUsers(t, ctr(t, d, "run", "--rm", "--runtime", env.Runtime(), "--snapshotter", "overlayfs",
		"--uidmap", maps, "--gidmap", maps, env.ImageName, "copied", "/bin/sh", "-c", aboutUsers))
}

// mountsOf are the lines of mountinfo about an id.
func mountsOf(t *testing.T, id string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var found strings.Builder
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "/"+id+"/") {
			found.WriteString(line)
		}
	}
	return found.String()
}

// layers are remapped where the kernel can do so: Linux 6.1, in the guests,
// cannot on a tmpfs.
func layers(t *testing.T, d *env.Daemon, id string) client.NewContainerOpts {
	t.Helper()
	var st unix.Statfs_t
	var u unix.Utsname
	if err := unix.Statfs(d.Dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.TMPFS_MAGIC && strings.HasPrefix(unix.ByteSliceToString(u.Release[:]), "6.1.") {
		return client.WithUserNSRemappedSnapshot(id, d.Image, idMaps(), idMaps())
	}
	return client.WithNewSnapshot(id, d.Image, client.WithUserNSRemapperLabels(idMaps(), idMaps()))
}

// withUsers is a container in a user namespace of its own.
func withUsers(t *testing.T, d *env.Daemon, text string, opts ...oci.SpecOpts) client.Container {
	t.Helper()
	id := "users" + strings.ToLower(rand.Text()[:12])
	return d.Container(t, env.ContainerConfig{ID: id, Args: []string{"/bin/sh", "-c", text}, Snapshot: layers(t, d, id),
		Opts: append([]oci.SpecOpts{oci.WithUserNamespace(idMaps(), idMaps())}, opts...)})
}

// Init and exec are root inside and somebody else outside; another user can
// open its streams again.
func usersProcess(t *testing.T, d *env.Daemon) {
	c := withUsers(t, d, aboutUsers+"; echo end >/dev/stdout; exec sleep 100000")
	task := d.StartTask(t, c)
	env.Eventually(t, "the end of the output", func() bool { return strings.HasSuffix(task.Stdout.String(), "end\n") })
	wantUsers(t, strings.TrimSuffix(task.Stdout.String(), "end\n"))
	var st syscall.Stat_t
	if err := syscall.Stat(fmt.Sprintf("/proc/%d", task.Pid()), &st); err != nil || st.Uid != mappedTo || st.Gid != mappedTo {
		t.Errorf("init belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
	wantUsers(t, d.Exec(t, task, "/bin/sh", "-c", "rm /new; "+aboutUsers).Stdout)
	out := &env.Output{}
	other := execution{id: "other", user: &specs.User{UID: 7, GID: 8}, args: []string{"/bin/sh", "-c", "id -u; id -g; echo again >/dev/stdout"},
		io: cio.NewCreator(cio.WithStreams(nil, out, out), cio.WithFIFODir(d.Dir+"/io"))}
	if _, err := other.run(d.Context(t), task); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the exec's output", func() bool { return strings.HasSuffix(out.String(), "again\n") })
	if got := out.String(); got != "7\n8\nagain\n" {
		t.Errorf("exec as another user: got %q", got)
	}
}

// The root of a user namespace rules the groups below its own, where they are
// mounted to be written to.
func delegatedGroup(t *testing.T, d *env.Daemon) {
	c := withUsers(t, d, `cd /sys/fs/cgroup && mkdir inner && echo $$ >inner/cgroup.procs && echo +pids >cgroup.subtree_control && cat /proc/self/cgroup
		stat -c %u . cgroup.procs inner memory.max; exec sleep 100000`, withGroups("rw"))
	task := d.StartTask(t, c)
	env.Eventually(t, "five lines", func() bool { return strings.Count(task.Stdout.String()+task.Stderr.String(), "\n") >= 5 })
	if got, want := task.Stdout.String(), "0::/inner\n0\n0\n0\n65534\n"; got != want {
		t.Errorf("got %q, %q, want %q", got, task.Stderr.String(), want)
	}
	if got := d.Exec(t, task, "/bin/cat", "/proc/self/cgroup").Stdout; got != "0::/inner\n" {
		t.Errorf("exec: got %q", got)
	}
}

// Two containers in one user and one network namespace, by path.
func usersPod(t *testing.T, d *env.Daemon) {
	pause := d.StartTask(t, withUsers(t, d, "exec sleep 100000"))
	at := func(kind string) string { return fmt.Sprintf("/proc/%d/ns/%s", pause.Pid(), kind) }
	member := withUsers(t, d, "readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; exec sleep 100000",
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.UserNamespace, Path: at("user")}),
		oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: at("net")}))
	task := d.StartTask(t, member)
	env.Eventually(t, "three lines", func() bool { return strings.Count(task.Stdout.String(), "\n") == 3 })
	all := spaces(t, int(pause.Pid()))
	if got, want := task.Stdout.String(), all["user"]+"\n"+all["net"]+"\n0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := d.Exec(t, task, "/bin/readlink", "/proc/self/ns/user").Stdout; got != all["user"]+"\n" {
		t.Errorf("exec: got %q, want %q", got, all["user"])
	}
}

// A volume of the host's root is the container's root's.
func mappedVolume(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := withUsers(t, d, "stat -c %u:%g /volume/file; touch /volume/new; exec sleep 100000",
		oci.WithMounts([]specs.Mount{{Destination: "/volume", Type: "bind", Source: dir, Options: []string{"rbind", "rw"},
			UIDMappings: idMaps(), GIDMappings: idMaps()}}))
	task := d.StartTask(t, c)
	env.Eventually(t, "a line", func() bool { return task.Stdout.String()+task.Stderr.String() != "" })
	if got := task.Stdout.String(); got != "0:0\n" {
		t.Errorf("got %q, %q", got, task.Stderr.String())
	}
	var st syscall.Stat_t
	env.Eventually(t, "the container's file", func() bool { return syscall.Stat(dir+"/new", &st) == nil })
	if st.Uid != 0 {
		t.Errorf("the container's file belongs to %d on the host", st.Uid)
	}
}

// Hooks on the host keep the host's rights; those in the container's namespaces
// get its own.
func usersHooks(t *testing.T, d *env.Daemon) {
	dir := t.TempDir()
	for path, mode := range map[string]os.FileMode{dir: 0o777, filepath.Dir(dir): 0o755, d.Dir: 0o711} { // as /run/containerd
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	c := withUsers(t, d, "exec sleep 100000", change(func(s *specs.Spec) { s.Hooks = witnesses(dir + "/trace") }))
	if err := os.WriteFile(dir+"/trace", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir+"/trace", 0o666); err != nil {
		t.Fatal(err)
	}
	task := d.StartTask(t, c)
	b, err := os.ReadFile(dir + "/trace")
	if err != nil {
		t.Fatal(err)
	}
	inside, outside := spaces(t, int(task.Pid())), spaces(t, os.Getpid())
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		kind, _, _ := strings.Cut(line, " ")
		want := outside
		if kind == "createContainer" {
			want = inside
		}
		for file, link := range want {
			if !strings.Contains(line, file+"="+link) {
				t.Errorf("%s: not in %s %s: %s", kind, file, link, line)
			}
		}
	}
	if n := strings.Count(string(b), "\n"); n != 4 {
		t.Errorf("got %d hooks, want 4\n%s", n, b)
	}
}

// A time namespace has clocks of its own, for execs too.
func timeOffsets(t *testing.T, d *env.Daemon) {
	const day = 24 * 60 * 60
	c := d.Container(t, script("cat /proc/uptime; exec sleep 100000", change(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1000 * day}, "monotonic": {Secs: 7}}
	})))
	task := d.StartTask(t, c)
	env.Eventually(t, "a line", func() bool { return task.Stdout.String() != "" })
	for who, text := range map[string]string{"init": task.Stdout.String(), "exec": d.Exec(t, task, "/bin/cat", "/proc/uptime").Stdout} {
		var up float64
		if _, err := fmt.Sscan(text, &up); err != nil || up < 1000*day {
			t.Errorf("%s: up for %q", who, text)
		}
	}
}
