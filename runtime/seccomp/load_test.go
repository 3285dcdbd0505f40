// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// childEnv names the list of calls that the test binary makes as a child,
// after it has installed the profile from its standard input.
const childEnv = "FOUNDRY_SECCOMP_TEST_CALLS"

func TestMain(m *testing.M) {
	if names, ok := os.LookupEnv(childEnv); ok {
		if err := child(strings.Fields(names)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(names []string) error {
	p := &specs.LinuxSeccomp{}
	if err := json.NewDecoder(os.Stdin).Decode(p); err != nil {
		return err
	}
	f, err := Compile(p)
	if err != nil {
		return err
	}
	if err := install(f); err != nil {
		return err
	}
	for _, name := range names {
		number, args := probe(name)
		r, _, errno := unix.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5])
		switch {
		case errno != 0:
			fmt.Println(name, unix.ErrnoName(errno))
		case name == "socket-inet":
			err = unix.Close(int(r))
			fallthrough
		default:
			fmt.Println(name, "ok")
		}
	}
	return err
}

// install gives all threads of the process a filter; the stage has only one
// and needs no TSYNC.
func install(f Filter) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl PR_SET_NO_NEW_PRIVS", err)
	}
	prog := unix.SockFprog{
		Len:    uint16(len(f.Prog) / 8),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&f.Prog[0])),
	}
	const setModeFilter = 1
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, uintptr(f.Flags|flagTSYNC), uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(f.Prog)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// probe is a call that harms nothing when it is let through.
func probe(name string) (number uintptr, args [6]uintptr) {
	bad := ^uintptr(0)
	probes := map[string]struct {
		call string
		args [6]uintptr
	}{
		"getpid":            {"getpid", args},
		"mount":             {"mount", [6]uintptr{bad, bad, bad}},
		"unshare":           {"unshare", [6]uintptr{bad}},
		"clone-newuser":     {"clone", [6]uintptr{unix.CLONE_NEWUSER | unix.CLONE_FS}}, // EINVAL before anything else
		"clone3":            {"clone3", [6]uintptr{bad, bad}},
		"personality-read":  {"personality", [6]uintptr{0xffffffff}},
		"personality-other": {"personality", [6]uintptr{0x0040000}},
		"socket-inet":       {"socket", [6]uintptr{unix.AF_INET, unix.SOCK_DGRAM | unix.SOCK_CLOEXEC}},
		"socket-alg":        {"socket", [6]uintptr{unix.AF_ALG, unix.SOCK_SEQPACKET | unix.SOCK_CLOEXEC}},
		"socket-vsock":      {"socket", [6]uintptr{unix.AF_VSOCK, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}},
		"acct":              {"acct", [6]uintptr{bad}},
	}
	if name == "newest" {
		return 900, args
	}
	n, ok := nativeArch(runtime.GOARCH).number(probes[name].call)
	if !ok {
		panic("no probe " + name)
	}
	return uintptr(n), probes[name].args
}

// runChild runs this binary under a profile and gives what it printed.
func runChild(t *testing.T, p *specs.LinuxSeccomp, names ...string) (string, error) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(names, " "))
	cmd.Stdin = bytes.NewReader(text)
	var out, diag strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &diag
	err = cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, diag.String())
	}
	return out.String(), err
}

func TestKernelTakesContainerdProfile(t *testing.T) {
	if _, err := os.Stat("/proc/sys/kernel/seccomp/actions_avail"); err != nil {
		t.Skipf("SKIPPED, nothing was installed: needs a kernel with seccomp: %v", err)
	}
	got, err := runChild(t, containerdProfiles()["default"], "getpid", "mount", "unshare", "clone-newuser", "clone3",
		"personality-read", "personality-other", "socket-inet", "socket-alg", "socket-vsock", "acct", "newest")
	if err != nil {
		t.Fatal(err)
	}
	want := `getpid ok
mount EPERM
unshare EPERM
clone-newuser EPERM
clone3 ENOSYS
personality-read ok
personality-other EPERM
socket-inet ok
socket-alg EPERM
socket-vsock EPERM
acct EPERM
newest ENOSYS
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestKernelActions(t *testing.T) {
	for _, c := range []struct {
		action specs.LinuxSeccompAction
		errno  *uint
		want   string
		signal unix.Signal
	}{
		{action: specs.ActErrno, want: "acct EPERM\n"},
		{action: specs.ActErrno, errno: ptr(uint(unix.EXDEV)), want: "acct EXDEV\n"},
		{action: specs.ActErrno, errno: ptr(uint(0)), want: "acct ok\n"},
		{action: specs.ActTrace, want: "acct ENOSYS\n"}, // nobody traces
		{action: specs.ActLog, want: "acct EFAULT\n"},
		{action: specs.ActKillProcess, signal: unix.SIGSYS},
	} {
		p := &specs.LinuxSeccomp{
			DefaultAction: specs.ActAllow,
			Flags:         []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog},
			Syscalls:      []specs.LinuxSyscall{{Names: []string{"acct"}, Action: c.action, ErrnoRet: c.errno}},
		}
		got, err := runChild(t, p, "acct")
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.action, got, c.want)
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if got := exit.Sys().(interface{ Signal() unix.Signal }).Signal(); got != c.signal {
				t.Errorf("%s: got %v, want %v", c.action, got, c.signal)
			}
		} else if err != nil || c.signal != 0 {
			t.Errorf("%s: got %v, want signal %v", c.action, err, c.signal)
		}
	}
}
