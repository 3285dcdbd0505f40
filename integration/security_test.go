// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/ttrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

func TestSecurity(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"OwnBinary", ownBinary},
		{"HostsBinaries", hostsBinaries},
		{"Descriptors", descriptors},
		{"CreatedIsClosed", createdIsClosed},
		{"OtherUser", otherUser},
	} {
		s.run(t, d)
	}
}

// binaries are the sums of the programs that a container must not change: on
// disk, and the spawner's in memory.
func binaries(t *testing.T, d *env.Daemon) string {
	t.Helper()
	var out []string
	for _, path := range []string{
		env.Bin(t) + "/foundryd", env.Bin(t) + "/foundry-delete", env.Bin(t) + "/containerd-shim-foundry-v1", fmt.Sprintf("/proc/%d/exe", d.Servers()[0].Spawner),
	} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %x", path, h.Sum(nil)))
	}
	return strings.Join(out, "\n")
}

// A program whose interpreter is /proc/self/exe makes the kernel run whoever
// executes it, here the stage: so the container gets hold of the runtime's own
// binary and can try to write to it. CVE-2019-5736.
func ownBinary(t *testing.T, d *env.Daemon) {
	task := d.StartTask(t, sleeper(t, d))
	before := binaries(t, d)
	d.Exec(t, task, "/bin/sh", "-c", `printf '#!/proc/self/exe\n' > /evil; chmod 755 /evil`)
	// Whoever looks often enough catches the process that runs it, and holds
	// on to its binary until nobody executes it any more.
	const hunt = `i=0; while [ $i -lt 300 ]; do i=$((i+1))
		for e in /proc/[0-9]*/exe; do
			case $(readlink $e) in ''|/bin/busybox) continue;; esac
			(exec 3<$e; echo caught >&2; echo evil >>$e && echo wrote; sleep 0.1
			echo evil 1<>/proc/self/fd/3 && echo wrote later; : >/proc/self/fd/3 && echo truncated)
		done; done`
	hunter := make(chan env.Result, 1)
	go func() {
		r, _ := d.TryExec(d.Context(t), task, "/bin/sh", "-c", hunt)
		hunter <- r
	}()
	for range 50 {
		for _, program := range []string{"/evil", "/proc/self/exe"} {
			// Whatever comes of it, it comes back.
			_, _ = d.TryExec(d.Context(t), task, program)
		}
	}
	for _, exe := range []string{"/proc/self/exe", "/proc/1/exe"} {
		r := d.Exec(t, task, "/bin/sh", "-c", "echo evil >> "+exe)
		if r.Code() == 0 {
			t.Errorf("write to %s: got no error", exe)
		}
	}
	sealed(t, d.Servers()[0].Spawner)
	r := <-hunter
	t.Logf("the hunter caught %d", strings.Count(r.Stderr, "caught"))
	if r.Stdout != "" {
		t.Errorf("the hunter says %q", r.Stdout)
	}
	if got := binaries(t, d); got != before {
		t.Errorf("binaries: got\n%s\nbefore\n%s", got, before)
	}
	d.Exec(t, task, "/bin/true")
}

// sealed checks that a process runs from memory that nobody can write again, be
// it executed at the time or not.
func sealed(t *testing.T, pid int) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const all = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || got&all != all {
		t.Errorf("seals of %s: got %#x, %v, want %#x", f.Name(), got, err, all)
	}
}

// A container that sees the host's processes, root but without capabilities to
// trace, can neither write the server's programs nor see what the server holds.
func hostsBinaries(t *testing.T, d *env.Daemon) {
	task := lying(t, d, false)
	created := d.Create(t, d.Container(t, env.ContainerConfig{}), nil)
	before := binaries(t, d)
	s := d.Servers()[0]
	for name, pid := range map[string]int{"server": s.Pid, "spawner": s.Spawner, "created container": int(created.Pid())} {
		wantClosed(t, d, task, name, pid)
	}
	if got := binaries(t, d); got != before {
		t.Errorf("binaries: got\n%s\nbefore\n%s", got, before)
	}
}

// wantClosed tries, in a container, what would give away a process or its files.
func wantClosed(t *testing.T, d *env.Daemon, task client.Task, name string, pid int) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", pid)
	for _, script := range []string{
		"echo evil >> " + proc + "/exe", "readlink " + proc + "/exe", "ls " + proc + "/root/", "ls " + proc + "/cwd/",
		"readlink " + proc + "/fd/0", "for f in " + proc + "/fd/*; do readlink $f; cat $f; done", "cat " + proc + "/environ", "cat " + proc + "/maps",
		"head -c 1 " + proc + "/mem", "nsenter -t " + strconv.Itoa(pid) + " -m true",
	} {
		r := d.Exec(t, task, "/bin/sh", "-c", script)
		// ps and the like may see that it is there
		if r.Code() == 0 && r.Stdout != "" || strings.HasPrefix(script, "echo") && r.Code() == 0 || strings.HasPrefix(script, "nsenter") && r.Code() == 0 {
			t.Errorf("%s: %s: got exit %d, %q", name, script, r.Code(), r.Stdout)
		}
	}
	if r := d.Exec(t, task, "/bin/sh", "-c", "test -d "+proc); r.Code() != 0 {
		t.Errorf("%s: %s is not there, so this proves nothing", name, proc)
	}
}

// A process has three descriptors, and ls a fourth for the directory.
func descriptors(t *testing.T, d *env.Daemon) {
	const script = "ls /proc/self/fd | tr '\\n' ' '"
	want := "0 1 2 3 "
	task := d.StartTask(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", script + "; sleep 100000"}}))
	env.Eventually(t, "init lists its descriptors", func() bool { return task.Stdout.String() != "" })
	if got := task.Stdout.String(); got != want {
		t.Errorf("init: got %q, want %q", got, want)
	}
	if got := d.Exec(t, task, "/bin/sh", "-c", script).Stdout; got != want {
		t.Errorf("exec: got %q, want %q", got, want)
	}
	out := &env.Output{}
	onTerminal := execution{id: "tty", tty: true, args: []string{"/bin/sh", "-c", script},
		io: cio.NewCreator(cio.WithStreams(neverEnding{}, out, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir+"/io"))}
	if _, err := onTerminal.run(d.Context(t), task); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "the exec lists its descriptors", func() bool { return out.String() != "" })
	if got := out.String(); got != want {
		t.Errorf("exec on a terminal: got %q, want %q", got, want)
	}
	// As the host sees it: nothing of init's but its pipes, and all of the
	// host's files are out of reach.
	for fd, link := range env.FDLinks(int(task.Pid())) {
		if strings.HasPrefix(link, "/") && link != "/dev/null" || len(fd) > 1 || fd > "2" {
			t.Errorf("init's descriptor %s is %s", fd, link)
		}
	}
}

// A container that waits for its start is the runtime's code with the runtime's
// view of the host. Another container in its pid namespace gets nothing of it.
func createdIsClosed(t *testing.T, d *env.Daemon) {
	first := d.StartTask(t, sleeper(t, d))
	shared := oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.PIDNamespace, Path: fmt.Sprintf("/proc/%d/ns/pid", first.Pid())})
	second := d.Create(t, d.Container(t, env.ContainerConfig{Args: []string{"/bin/sleep", "100000"}, Opts: []oci.SpecOpts{shared}}), nil)
	inside := innerPid(t, int(second.Pid()))
	wantClosed(t, d, first, "created container", inside)
	if err := second.Start(d.Context(t)); err != nil {
		t.Fatal(err)
	}
	// Once it runs it is an equal, which shows that the first could have looked.
	if r := d.Exec(t, first, "/bin/readlink", fmt.Sprintf("/proc/%d/exe", inside)); r.Stdout != "/bin/busybox\n" {
		t.Errorf("exe of the started container: got %q, want /bin/busybox", r.Stdout)
	}
}

// innerPid is a process's number in its own pid namespace.
func innerPid(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" {
			n, _ := strconv.Atoi(f[len(f)-1])
			return n
		}
	}
	t.Fatal("no NSpid")
	return 0
}

// The server talks to its own user only, even when the way to its sockets is
// open.
func otherUser(t *testing.T, d *env.Daemon) {
	startMany(t, d, 1)
	s := d.Servers()[0]
	socket := strings.TrimPrefix(s.Address, "unix://")
	for _, dir := range []string{socket, s.Dir + "/control.sock"} {
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s: got %v, %v, want 0600", dir, st.Mode(), err)
		}
	}
	for _, path := range []string{d.Dir, filepath.Dir(socket), socket, d.Dir + "/f", s.Dir, s.Dir + "/control.sock"} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := connects(t, d, dialAs(t, socket, 0)); err != nil {
		t.Errorf("root: %v", err)
	}
	if err := connects(t, d, dialAs(t, socket, 1000)); err == nil {
		t.Error("another user was answered on the task socket")
	}
	for uid, want := range map[int]bool{0: true, 1000: false} {
		if got := status(t, dialAs(t, s.Dir+"/control.sock", uid)); (got != "") != want {
			t.Errorf("user %d on the control socket: got %q", uid, got)
		}
	}
}

// dialAs connects as another user: on a thread that changes its own and is then
// thrown away.
func dialAs(t *testing.T, path string, uid int) net.Conn {
	t.Helper()
	type dialled struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialled)
	go func() {
		runtime.LockOSThread() // and never unlock
		const unchanged = ^uintptr(0)
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, unchanged, uintptr(uid), unchanged); errno != 0 {
			done <- dialled{nil, errno}
			return
		}
		conn, err := net.Dial("unix", path)
		done <- dialled{conn, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatalf("dial %s as user %d: %v", path, uid, r.err)
	}
	t.Cleanup(func() { r.conn.Close() })
	return r.conn
}

func connects(t *testing.T, d *env.Daemon, conn net.Conn) error {
	t.Helper()
	c := ttrpc.NewClient(conn)
	defer c.Close()
	_, err := taskapi.NewTTRPCTaskClient(c).Connect(d.Context(t), &taskapi.ConnectRequest{ID: "x"})
	return err
}

// status asks on the control socket.
func status(t *testing.T, conn net.Conn) string {
	t.Helper()
	_, _ = conn.Write([]byte("status\n")) // may be closed by now
	b, _ := io.ReadAll(conn)
	return string(b)
}
