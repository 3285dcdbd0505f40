// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"foundry/shim/stdio"
)

// ask sends one line to a control socket and returns the whole answer.
func ask(t *testing.T, path, line string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintln(conn, line)
	must(t, err)
	said, err := io.ReadAll(conn)
	must(t, err)
	return string(said)
}

func serveControl(t *testing.T, c *Control) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ControlSocket)
	l, err := Listen(path)
	must(t, err)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st.Mode(), err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.Serve(l) })
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return path
}

func TestControl(t *testing.T) {
	s := testServiceWith(t, newSink(t))
	pump, err := stdio.NewPump(stdio.PumpConfig{})
	must(t, err)
	t.Cleanup(func() { pump.Close() })
	s.pump = pump
	accepted := time.Now()
	retired := make(chan struct{})
	path := serveControl(t, &Control{
		Service: s, Accepted: func() time.Time { return accepted }, Retire: func() { close(retired) },
		retired: func() {},
	})
	for line, want := range map[string]string{
		"delete ns c": "none\n",
		"retire":      "busy\n", // somebody has just connected
		"status":      "pid=",
		"what":        "error unknown request",
	} {
		if got := ask(t, path, line); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	accepted = time.Now().Add(-2 * quiet)
	c := newContainer(Key{"ns", "c"}, s)
	must(t, s.table.reserve(c))
	if got := ask(t, path, "retire"); got != "busy\n" {
		t.Errorf("retire with a container: %q", got)
	}
	s.table.release(c)
	if got := ask(t, path, "retire"); got != "ok\n" {
		t.Errorf("retire: %q", got)
	}
	<-retired
}

// The time of the last accept is that of all listeners that share it.
func TestListenersShareTheirTime(t *testing.T) {
	dir := t.TempDir()
	sockets := []string{dir + "/first", dir + "/again"}
	var under [2]net.Listener
	for i, path := range sockets {
		l, err := Listen(path)
		must(t, err)
		defer l.Close()
		under[i] = l
	}
	first := NewListener(under[0])
	again := first.Also(under[1])
	for i, l := range []net.Listener{first, again} {
		before := time.Now()
		conn, err := net.Dial("unix", sockets[i])
		must(t, err)
		defer conn.Close()
		accepted, err := l.Accept()
		must(t, err)
		defer accepted.Close()
		if first.Accepted().Before(before) || !again.Accepted().Equal(first.Accepted()) {
			t.Errorf("%s: accepted at %v and %v, want the same and not before %v", sockets[i], first.Accepted(), again.Accepted(), before)
		}
	}
}
