// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func contains(s string, all ...string) bool {
	for _, sub := range all {
		if !strings.Contains(s, sub) {
			return false
		}
	}
	return true
}

func TestStdinSurvivesDetach(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "stdin")}
	x := testOpen(t, p, cfg)
	start(t, x)
	in, _, _ := x.Child()
	for _, s := range []string{"first", "second"} {
		w := writer(t, cfg.Stdin)
		write(t, w, s)
		w.Close()
		if got := readN(t, in, len(s)); got != s {
			t.Errorf("got %q, want %q", got, s)
		}
	}
	if in.Fd() == 0 {
		t.Fatal("descriptor 0")
	}
	fds := []unix.PollFd{{Fd: int32(in.Fd()), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("after the detach of the client: got events %#x, %v, want none", fds[0].Revents, err)
	}
	for range 2 {
		if err := x.CloseStdin(); err != nil {
			t.Error(err)
		}
	}
	if got := readAll(t, in); got != "" {
		t.Errorf("after CloseStdin: got %q, want the end", got)
	}
}

// echo x | nerdctl run -i alpine cat: CloseIO comes while the client has the
// fifo open and before anything was carried, or before the process started.
func TestCloseStdinDeliversFirst(t *testing.T) {
	p := testPump(t)
	for i := range 500 {
		cfg := Config{Stdin: fifo(t, "stdin")}
		x := testOpen(t, p, cfg)
		in, _, _ := x.Child()
		w := writer(t, cfg.Stdin)
		if i%3 == 0 {
			start(t, x)
		}
		write(t, w, "x\n")
		if i%3 == 1 {
			start(t, x)
		}
		if err := x.CloseStdin(); err != nil {
			t.Fatal(err)
		}
		if i%3 == 2 {
			start(t, x)
		}
		if i%2 == 0 {
			w.Close()
		}
		if got, want := readAll(t, in), "x\n"; got != want {
			t.Fatalf("round %d: got %q, want %q", i, got, want)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// More than the pipe takes is in flight when CloseStdin comes.
func TestCloseStdinOfSlowProcess(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "stdin")}
	x := testOpen(t, p, cfg)
	start(t, x)
	in, _, _ := x.Child()
	w := writer(t, cfg.Stdin)
	text := strings.Repeat("0123456789abcdef", 120<<10/16)
	write(t, w, text)
	if err := x.CloseStdin(); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, in); got != text {
		t.Errorf("got %d bytes, want %d", len(got), len(text))
	}
}

// A process that has closed its stdin: the client gets EPIPE after a write,
// as with containerd's runc shim, and blocks on nothing.
func TestStdinOfDeafProcess(t *testing.T) {
	p := testPump(t)
	cfg := Config{Stdin: fifo(t, "stdin")}
	x := testOpen(t, p, cfg)
	start(t, x)
	x.CloseChild()
	w := writer(t, cfg.Stdin)
	eventually(t, "EPIPE", func() bool {
		_, err := w.Write([]byte("x"))
		pe, ok := err.(*os.PathError)
		return ok && pe.Err == unix.EPIPE
	})
}

func TestPipesBelongToUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: fchown needs root")
	}
	p := testPump(t)
	x := testOpen(t, p, Config{Stdin: fifo(t, "in"), Stdout: fifo(t, "out"), Stderr: fifo(t, "err"), UID: 1234, GID: 567})
	in, out, errw := x.Child()
	for _, f := range []*os.File{in, out, errw} {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			t.Fatal(err)
		}
		if st.Uid != 1234 || st.Gid != 567 {
			t.Errorf("%s: got owner %d:%d, want 1234:567", f.Name(), st.Uid, st.Gid)
		}
		if fl, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK != 0 {
			t.Errorf("%s: got flags %#x, %v, want no O_NONBLOCK", f.Name(), fl, err)
		}
	}
}
