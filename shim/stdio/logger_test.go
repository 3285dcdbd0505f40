// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the log program of these tests: see logMain.
func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv("CONTAINER_ID"); ok {
		syscall.Exit(logMain(os.Args[1:])) // not os.Exit: the race detector makes it wait
	}
	os.Exit(m.Run())
}

// logMain copies descriptor 3 to the file out and 4 to err (its arguments are
// name, value, ...), and behaves badly as it is told by the argument how.
func logMain(args []string) int {
	arg := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		arg[args[i]] = args[i+1]
	}
	ready := os.NewFile(5, "ready")
	signal.Ignore(syscall.SIGPIPE)
	switch arg["how"] {
	case "never":
		time.Sleep(time.Hour)
	case "crash":
		return 1
	case "child":
		child := exec.Command("/bin/sleep", "1000")
		child.ExtraFiles = []*os.File{os.NewFile(3, "in")}
		child.Start()
		os.WriteFile(arg["out"]+".child", fmt.Append(nil, child.Process.Pid), 0o600)
		defer child.Process.Kill()
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	}
	if arg["ready"] == "byte" {
		ready.Write([]byte{0})
	}
	ready.Close()
	if arg["how"] == "deaf" {
		time.Sleep(100 * time.Millisecond) // which lets us find it there
		return 1
	}
	if n := arg["once"]; n != "" {
		return logOnce(arg)
	}
	var wg sync.WaitGroup
	for fd, name := range map[uintptr]string{3: arg["out"], 4: arg["err"]} {
		wg.Go(func() { appendAll(name, os.NewFile(fd, "in")) })
	}
	wg.Wait()
	appendAll(arg["out"], strings.NewReader(fmt.Sprintf("[%s]", strings.Join(os.Environ(), " "))))
	if arg["how"] == "lingers" || arg["how"] == "stubborn" {
		time.Sleep(time.Hour)
	}
	return 0
}

// logOnce takes ten bytes and dies.
func logOnce(arg map[string]string) int {
	buf := make([]byte, 10)
	n, _ := io.ReadFull(os.NewFile(3, "in"), buf)
	appendAll(arg["out"], bytes.NewReader(buf[:n]))
	return 1
}

func appendAll(name string, r io.Reader) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	io.Copy(f, r)
}

// programs starts log programs as the spawner would.
type programs struct {
	t      testing.TB
	mu     sync.Mutex
	states []*os.ProcessState
	starts int
	wg     sync.WaitGroup
}

type program struct{ *os.Process }

func (p program) Signal(s syscall.Signal) error { return p.Process.Signal(s) }
func (p program) Close() error                  { return nil }

func (p program) Kill() error {
	if err := unix.Kill(-p.Pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
		return err
	}
	return nil
}

func (p *programs) spawn(_ context.Context, l Logger) (LoggerProcess, error) {
	cmd := exec.Command(l.Path, l.Args...)
	cmd.Env = l.Env
	cmd.ExtraFiles = l.Files[:]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.starts++
	p.mu.Unlock()
	p.wg.Go(func() {
		cmd.Wait()
		p.mu.Lock()
		p.states = append(p.states, cmd.ProcessState)
		p.mu.Unlock()
		l.OnExit()
	})
	return program{cmd.Process}, nil
}

// ends returns how the programs have ended so far.
func (p *programs) ends() (s []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, st := range p.states {
		s = append(s, st.String())
	}
	return s
}

// testLogger opens an IO for this test program as log program.
func testLogger(t *testing.T, p *Pump, scheme, query string, tty bool) (*IO, *programs, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	uri := fmt.Sprintf("%s://%s?out=%s/out&err=%s/err&%s", scheme, self, dir, dir, query)
	progs := &programs{t: t}
	t.Cleanup(progs.wg.Wait)
	x, err := p.Open(testContext(t), Config{
		Stdout: uri, Stderr: uri, Terminal: tty, ContainerID: "c1", Namespace: "ns1", Spawn: progs.spawn,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, progs, dir
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s: got %.200q, %v, want %.200q", filepath.Base(path), got, err, want)
	}
}

const logEnv = "[CONTAINER_ID=c1 CONTAINER_NAMESPACE=ns1]"

func TestLogger(t *testing.T) {
	for _, scheme := range []string{"binary", "binary-v2"} {
		t.Run(scheme, func(t *testing.T) {
			p := testPump(t)
			x, progs, dir := testLogger(t, p, scheme, "ready=byte", false)
			start(t, x)
			_, out, errw := x.Child()
			write(t, out, "to stdout ")
			write(t, errw, "to stderr")
			x.CloseChild()
			drain(t, x)
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			wantFile(t, dir+"/out", "to stdout "+logEnv)
			wantFile(t, dir+"/err", "to stderr")
			if got := fmt.Sprint(progs.ends()); got != "[exit status 0]" {
				t.Errorf("program: got %s, want a good end", got)
			}
			if s := p.Stats(); s.Moved != 0 {
				t.Errorf("the pump moved %d bytes, want none", s.Moved)
			}
		})
	}
}

func TestLoggerOfTerminal(t *testing.T) {
	p := testPump(t)
	x, _, dir := testLogger(t, p, "binary", "", true)
	master, slave := openPty(t)
	makeRaw(t, slave)
	if err := x.Start(master); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("0123456789abcdef", 1<<20/16)
	write(t, slave, text)
	slave.Close()
	drain(t, x)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	wantFile(t, dir+"/out", text+logEnv)
	wantFile(t, dir+"/err", "")
}

func TestLoggerIsNotReady(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ uri, want string }{
		{"binary-v2://" + self + "?how=crash", "without the byte that says ready"},
		{"binary-v2://" + self + "?out=/dev/null&err=/dev/null", "without the byte that says ready"},
		{"binary://" + self + "?how=never", "deadline exceeded"},
		{"binary:///no/such/program", "no such file"},
	} {
		p := testPump(t)
		p.cfg.LoggerReady = 300 * time.Millisecond
		progs := &programs{t: t}
		_, err := p.Open(testContext(t), Config{Stdout: tt.uri, Stderr: tt.uri, ContainerID: "c1", Spawn: progs.spawn})
		if err == nil || !contains(err.Error(), tt.want, `open stdio of "c1": log program /`) {
			t.Errorf("%s: got error %v, want %q", tt.uri, err, tt.want)
		}
		progs.wg.Wait() // nothing is left
	}
}

// A log program that dies costs nothing: another one goes on with the next
// byte, and the process does not notice.
func TestLoggerDies(t *testing.T) {
	p := testPump(t)
	x, progs, dir := testLogger(t, p, "binary", "once=y", false)
	start(t, x)
	_, out, _ := x.Child()
	var want string
	for i := range 8 {
		s := fmt.Sprintf("line %04d\n", i)
		write(t, out, s)
		want += s
	}
	eventually(t, "all logged", func() bool {
		got, _ := os.ReadFile(dir + "/out")
		return string(got) == want
	})
	x.CloseChild()
	drain(t, x)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if progs.starts < 8 {
		t.Errorf("starts: got %d, want 8 or more", progs.starts)
	}
	if lost := p.Stats().Lost; lost != 0 {
		t.Errorf("lost %d bytes", lost)
	}
}

func TestLoggerDoesNotEnd(t *testing.T) {
	for _, tt := range []struct {
		how, end string
		limit    time.Duration
	}{
		{"lingers", "[signal: terminated]", 4 * time.Second},
		{"stubborn", "[signal: killed]", 10 * time.Second},
	} {
		t.Run(tt.how, func(t *testing.T) {
			p := testPump(t)
			p.cfg.LoggerStop = 2 * time.Second
			x, progs, dir := testLogger(t, p, "binary", "how="+tt.how, false)
			start(t, x)
			_, out, _ := x.Child()
			write(t, out, "x")
			x.CloseChild()
			drain(t, x)
			began := time.Now()
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d > tt.limit {
				t.Errorf("Close took %v, want at most %v", d, tt.limit)
			}
			progs.wg.Wait()
			if got := fmt.Sprint(progs.ends()); got != tt.end {
				t.Errorf("program: got %s, want %s", got, tt.end)
			}
			wantFile(t, dir+"/out", "x"+logEnv)
		})
	}
}

// A grandchild has the pipes open when the process is deleted.
func TestLoggerWithGrandchild(t *testing.T) {
	p := testPump(t)
	x, _, _ := testLogger(t, p, "binary", "", false)
	start(t, x)
	_, out, _ := x.Child()
	fd, err := dupOf(out)
	if err != nil {
		t.Fatal(err)
	}
	grandchild := os.NewFile(uintptr(fd), "grandchild")
	defer grandchild.Close()
	x.CloseChild()
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := x.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: got %v, want %v", err, context.Canceled)
	}
	began := time.Now()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("Close took %v", d)
	}
}
