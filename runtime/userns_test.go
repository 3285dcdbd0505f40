// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// remapped is where the users of a test's containers are on the host.
const remapped = 100000

func mapping() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: remapped, Size: 65536}}
}

// withUsers gives a spec a user namespace.
func withUsers(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings, s.Linux.GIDMappings = mapping(), mapping()
}

// idmaps says whether the kernel can map the owners of what is in dir.
func idmaps(t testing.TB, dir string) bool {
	t.Helper()
	var st unix.Statfs_t
	var u unix.Utsname
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	return st.Type != unix.TMPFS_MAGIC || major > 6 || major == 6 && minor >= 3
}

// volume is a directory of the host's with a file of root's, mounted so that it
// is the container's root's.
func (w *world) volume(spec *specs.Spec) string {
	w.t.Helper()
	dir := w.dir + "/volume"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
	spec.Mounts = append(spec.Mounts, specs.Mount{
		Destination: "/run/volume", Source: dir, Type: "bind", Options: []string{"rbind"}, UIDMappings: mapping(), GIDMappings: mapping(),
	})
	return dir
}

func TestUserNamespace(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("users", "sh", "-c", "id -u; cat /proc/self/uid_map; echo again >/dev/stdout; exec sleep 60")
	withUsers(spec)
	volume := ""
	if idmaps(t, w.dir) {
		volume = w.volume(spec)
	}
	b := w.create("users", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("0\n%10d %10d %10d\nagain\n", 0, remapped, 65536)
	eventually(t, "what init says", func() bool { return strings.HasSuffix(b.out.soFar(), "again\n") })
	if got := b.out.soFar(); got != want {
		t.Errorf("init: got %q, want %q", got, want)
	}
	if _, got := b.exec("sh", "-c", "id -u; readlink /proc/self/ns/user; readlink /proc/1/ns/user"); len(strings.Fields(got)) != 3 || strings.Fields(got)[0] != "0" ||
		strings.Fields(got)[1] != strings.Fields(got)[2] {
		t.Errorf("exec: got %q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d", b.Pid()), &st); err != nil || st.Uid != remapped {
		t.Errorf("init belongs to %d, %v; want %d", st.Uid, err, remapped)
	}
	if volume == "" {
		return
	}
	if _, got := b.exec("sh", "-c", "stat -c %u:%g /run/volume/file; touch /run/volume/new"); got != "0:0\n" {
		t.Errorf("volume: got %q", got)
	}
	if err := unix.Stat(volume+"/new", &st); err != nil || st.Uid != 0 {
		t.Errorf("a file of the container's: got owner %d, %v; want 0", st.Uid, err)
	}
}

// The owners of a root file system are mapped as containerd asks for it.
func TestMappedRootfs(t *testing.T) {
	w := newWorld(t)
	if !idmaps(t, w.image) {
		t.Skip("SKIPPED: needs Linux 6.3 for idmapped tmpfs")
	}
	spec := w.spec("mapped", "sh", "-c", "stat -c %u:%g /bin/busybox; touch /etc/new")
	withUsers(spec)
	b := &box{t: t, id: "mapped", bundle: w.bundle("mapped", spec), exits: make(chan Exit, 1), out: newSink(t)}
	mounts := w.rootfs()
	mounts[0].Options = append(mounts[0].Options, fmt.Sprintf("uidmap=0:%d:65536", remapped), fmt.Sprintf("gidmap=0:%d:65536", remapped))
	c, err := w.Create(ctx(t), CreateConfig{Namespace: "test", ID: "mapped", Bundle: b.bundle, Rootfs: mounts,
		Stdio: Stdio{Stdout: b.out.w, Stderr: b.out.w}, OnExit: func(e Exit) { b.exits <- e }})
	b.out.started()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx(t)); err != nil {
		t.Error(err)
	}
	b.wait()
	if got := b.out.text(); got != "0:0\n" {
		t.Errorf("got %q", got)
	}
	if err := c.Delete(ctx(t)); err != nil {
		t.Error(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(w.image, "etc/new"), &st); err != nil || st.Uid != 0 {
		t.Errorf("a file of the container's: got owner %d, %v; want 0", st.Uid, err)
	}
}

// The containers of a pod share its user namespace, by path.
func TestJoinedUserNamespace(t *testing.T) {
	w := newWorld(t)
	first := w.spec("first", "sleep", "60")
	withUsers(first)
	pause := w.create("first", first)
	for i, maps := range [][]specs.LinuxIDMapping{nil, mapping()} {
		id := fmt.Sprint("member", i)
		spec := w.spec(id, "sh", "-c", "id -u; readlink /proc/self/ns/user; echo again >/dev/stdout; exec sleep 60")
		spec.Process.User.UID = 7
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{
			Type: specs.UserNamespace, Path: fmt.Sprintf("/proc/%d/ns/user", pause.Pid()),
		})
		for j, ns := range spec.Linux.Namespaces {
			if ns.Type == specs.NetworkNamespace {
				spec.Linux.Namespaces[j].Path = fmt.Sprintf("/proc/%d/ns/net", pause.Pid())
			}
		}
		spec.Linux.UIDMappings, spec.Linux.GIDMappings = maps, maps
		b := w.create(id, spec)
		if err := b.Start(ctx(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "what init says", func() bool { return strings.HasSuffix(b.out.soFar(), "again\n") })
		want := "7\n" + strings.Fields(namespacesOf(t, pause.Pid()))[5] + "\nagain\n"
		if got := b.out.soFar(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if _, got := b.exec("sh", "-c", "id -u"); got != "0\n" {
			t.Errorf("exec: got %q", got)
		}
	}
}

// A pod's namespaces may be pinned, with no process in them.
func TestPinnedUserNamespace(t *testing.T) {
	w := newWorld(t)
	first := w.spec("pinner", "sleep", "60")
	withUsers(first)
	pinner := w.create("pinner", first)
	pin := func(kind string) string {
		path := filepath.Join(w.dir, kind)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/%s", pinner.Pid(), kind), path, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // before the place looks for what is left
			if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		return path
	}
	paths := map[specs.LinuxNamespaceType]string{specs.NetworkNamespace: pin("net"), specs.IPCNamespace: pin("ipc"), specs.UTSNamespace: pin("uts")}
	users := pin("user")
	want := strings.Fields(namespacesOf(t, pinner.Pid()))
	if err := pinner.Delete(ctx(t)); err != nil {
		t.Fatal(err)
	}
	spec := w.spec("pinned", "sh", "-c", "echo again >/dev/stdout; exec sleep 60")
	withUsers(spec)
	for i, ns := range spec.Linux.Namespaces {
		spec.Linux.Namespaces[i].Path = paths[ns.Type]
		if ns.Type == specs.UserNamespace {
			spec.Linux.Namespaces[i].Path = users
		}
	}
	b := w.create("pinned", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(namespacesOf(t, b.Pid())); !slices.Equal(got[2:], want[2:]) { // mnt and pid are its own
		t.Errorf("got %q, of the pod %q", got, want)
	}
	eventually(t, "the stream", func() bool { return b.out.soFar() == "again\n" })
	if _, got := b.exec("readlink", "/proc/self/ns/user"); got != want[5]+"\n" {
		t.Errorf("exec: got %q, want %q", got, want[5])
	}
}

// Who has a terminal in a user namespace can open it again.
func TestTerminalOfAnotherUser(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("tty", "sh", "-c", "stat -c %u $(readlink /proc/self/fd/0); echo again >/dev/tty")
	withUsers(spec)
	spec.Process.Terminal, spec.Process.User.UID = true, 7
	b := w.create("tty", spec)
	out := newSink(t)
	go func() {
		var buf [256]byte
		for {
			n, err := b.Terminal().Read(buf[:])
			out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	b.wait()
	eventually(t, "the terminal's text", func() bool { return strings.Contains(out.soFar(), "again") })
	if got := out.soFar(); got != "7\r\nagain\r\n" {
		t.Errorf("got %q", got)
	}
}

// createContainer hooks have the rights of the container's root, and find its
// namespaces.
func TestHooksOfUserNamespace(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	spec := w.spec("userhooks", "sleep", "60")
	withUsers(spec)
	h := specs.Hook{Path: "/bin/sh", Args: []string{"sh", "-c", witness + dir + "/create"}}
	spec.Hooks = &specs.Hooks{
		CreateContainer: []specs.Hook{h},
		CreateRuntime:   []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", witness + dir + "/runtime"}}},
		StartContainer:  []specs.Hook{w.inImage("start", "id -u >/run/start")},
	}
	for _, p := range []string{w.dir, filepath.Dir(w.dir), filepath.Join(w.dir, "bundles")} { // as containerd does
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b := w.create("userhooks", spec)
	if got, want := readTestimony(t, dir+"/create").namespaces, namespacesOf(t, b.Pid()); got != want {
		t.Errorf("createContainer: got %s, want %s", got, want)
	}
	if got, want := readTestimony(t, dir+"/runtime").namespaces, namespacesOf(t, os.Getpid()); got != want {
		t.Errorf("createRuntime: got %s, want %s", got, want)
	}
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if _, got := b.exec("cat", "/run/start"); got != "0\n" {
		t.Errorf("startContainer: got %q", got)
	}
}

// As TestServerKilledAtEachStep, for a container with a user namespace, mapped volumes, and hooks in
// its namespaces.
func TestServerKilledWithUsers(t *testing.T) {
	killedAtEachStep(t, func(s *specs.Spec) {
		withUsers(s)
		dir := t.TempDir()
		if idmaps(t, dir) {
			s.Mounts = append(s.Mounts, specs.Mount{
				Destination: "/run/volume", Source: dir, Type: "bind", Options: []string{"rbind"}, UIDMappings: mapping(), GIDMappings: mapping(),
			})
		}
		s.Hooks = &specs.Hooks{
			CreateRuntime:   []specs.Hook{hook(t, "exit 0")},
			CreateContainer: []specs.Hook{{Path: "/bin/true"}},
			StartContainer:  []specs.Hook{{Path: "/bin/true"}},
			Poststop:        []specs.Hook{hook(t, `echo >>"$PWD/stopped"`)},
		}
	})
}
