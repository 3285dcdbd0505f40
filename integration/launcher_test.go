// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"

	"foundry/integration/env"
)

// Fifty containers are the first ones, all at once: one server, and every
// caller has got its address.
func TestFiftyFirstStarts(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	tasks := startMany(t, d, 50)
	if got := len(d.Servers()); got != 1 {
		t.Errorf("servers: got %d, want 1", got)
	}
	if got := len(d.ShimPids()); got != 2 {
		t.Errorf("processes of the shim: got %d, want a server and its spawner", got)
	}
	for _, task := range tasks {
		wantStatus(t, d, task, client.Running)
	}
}

// The server lives for months, its first caller for a moment: what that one had
// is none of the server's business.
func TestServerInheritsNothing(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{Env: []string{"OTEL_SERVICE_NAME=x", "LEAKED=1", "GOGC=1", "NOTIFY_SOCKET=/x"}})
	d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/true"}}))
	s := d.Servers()[0]
	for name, pid := range map[string]int{"server": s.Pid, "spawner": s.Spawner} {
		for _, v := range environ(t, pid) {
			if key, _, _ := strings.Cut(v, "="); key != "PATH" {
				t.Errorf("%s: environment has %s", name, v)
			}
		}
		if got, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); got != "/" {
			t.Errorf("%s: working directory: got %q, %v, want /", name, got, err)
		}
		if got, own := env.Stat(pid)[3], fmt.Sprint(s.Spawner); got != own {
			t.Errorf("%s: session: got %s, want the spawner's own, %s", name, got, own)
		}
		foreignDescriptors(t, d, name, pid)
		if got := cgroupsOf(t, pid); slices.ContainsFunc(got, func(g string) bool { return !strings.HasSuffix(g, "/"+filepath.Base(s.Dir)+"/"+name) }) {
			t.Errorf("%s: cgroups: got %q, want its own in every hierarchy", name, got)
		}
	}
	if limit := memoryLimit(t, s.Pid); limit != "2147483648" {
		t.Errorf("the server's memory: got the limit %q", limit)
	}
}

// memoryLimit is that of a process's group.
func memoryLimit(t *testing.T, pid int) string {
	t.Helper()
	for _, g := range cgroupsOf(t, pid) {
		controller, path, _ := strings.Cut(g, ":")
		file := map[string]string{
			"": "/sys/fs/cgroup" + path + "/memory.max", "memory": "/sys/fs/cgroup/memory" + path + "/memory.limit_in_bytes",
		}[controller]
		if text, err := os.ReadFile(file); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	return ""
}

func environ(t *testing.T, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == 0 })
}

// cgroupsOf lists the groups of a process in the hierarchies that Foundry uses.
func cgroupsOf(t *testing.T, pid int) []string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		out = append(out, f[1]+":"+f[2])
	}
	return out
}

// foreignDescriptors reports what a process has open that is neither its own
// nor the instance's: files elsewhere, and pipes and sockets that containerd or
// this test has as well.
func foreignDescriptors(t *testing.T, d *env.Daemon, name string, pid int) {
	t.Helper()
	others := map[string]bool{}
	for _, p := range []int{os.Getpid(), d.Pid()} {
		for _, link := range env.FDLinks(p) {
			others[link] = true
		}
	}
	for fd, link := range env.FDLinks(pid) {
		path := strings.HasPrefix(link, "/")
		switch {
		case link == "/dev/null", strings.HasPrefix(link, d.Dir+"/f/"), strings.HasPrefix(link, "/memfd:"), strings.HasPrefix(link, "anon_inode:"):
		case path && (strings.HasPrefix(link, "/sys/fs/cgroup") || strings.HasPrefix(link, "/proc")):
		case path || others[link]:
			t.Errorf("%s: descriptor %s is %s", name, fd, link)
		}
	}
}

// The socket is where containerd says, and one that nobody serves any more is
// replaced, be it our own or a stranger's.
func TestDeadSocketIsReplaced(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	runs := func() {
		t.Helper()
		if got := d.Run(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "exit 3"}})).Code(); got != 3 {
			t.Errorf("exit: got %d, want 3", got)
		}
	}
	runs()
	s := d.Servers()[0]
	socket := strings.TrimPrefix(s.Address, "unix://")
	if filepath.Dir(socket) != d.Dir+"/s" {
		t.Errorf("socket: got %s, want it in containerd's socket_dir %s/s", socket, d.Dir)
	}
	kill := func() {
		t.Helper()
		s := d.Servers()[0]
		mustKill(t, s.Pid, syscall.SIGKILL)
		_ = syscall.Kill(s.Spawner, syscall.SIGKILL) // without containers it may have left by itself
		env.Eventually(t, "both are dead", func() bool { return !env.Alive(s.Pid) && !env.Alive(s.Spawner) })
		if _, err := os.Lstat(socket); err != nil {
			t.Errorf("the dead socket: %v", err)
		}
	}
	kill()
	runs()
	kill()
	leaveStale(t, socket)
	runs()
	if got := d.Servers(); len(got) != 1 || got[0].Address != s.Address {
		t.Errorf("servers: got %+v, want one at %s", got, s.Address)
	}
}

// leaveStale puts a stranger's socket, which nobody serves, in the place of
// another.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}
