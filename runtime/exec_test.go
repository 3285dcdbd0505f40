// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestExec(t *testing.T) {
	w := newWorld(t)
	b := w.start("exec", "sleep", "60")
	e, out := b.exec("sh", "-c", "echo $PATH; ps; exit 7")
	if e.Status != 7 || !strings.Contains(out, "sleep 60") || !strings.HasPrefix(out, "/bin\n") {
		t.Errorf("got %+v, %q", e, out)
	}
	_, err := b.Exec(ctx(t), ExecConfig{ID: "e1", Process: process("nothing")})
	if err == nil || !strings.HasPrefix(err.Error(), `exec "e1" in "exec": `) || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("missing program: got %v", err)
	}
	exits := make(chan Exit, 1)
	p, err := b.Exec(ctx(t), ExecConfig{ID: "e2", Process: process("sleep", "60"), OnExit: func(e Exit) { exits <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	pids, err := b.Pids()
	if want := []int{b.Pid(), p.Pid()}; err != nil || len(pids) != 2 || !slices.Contains(pids, want[0]) || !slices.Contains(pids, want[1]) {
		t.Errorf("got pids %v, %v; want %v", pids, err, want)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if e := await(t, exits); e.Signal != 15 || e.Pid != p.Pid() {
		t.Errorf("got %+v, want signal 15", e)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrNotRunning) {
		t.Errorf("signal the dead: got %v, want ErrNotRunning", err)
	}
}

func TestTerminal(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("tty", "sh", "-c", "stty size; sleep 60")
	spec.Process.Terminal = true
	spec.Process.ConsoleSize = &specs.Box{Height: 30, Width: 100}
	b := w.create("tty", spec)
	if b.Terminal() == nil {
		t.Fatal("no terminal")
	}
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if got := readUntil(t, b.Terminal(), "\n"); got != "30 100\r\n" {
		t.Errorf("init: got %q", got)
	}
	p := process("sh", "-c", "stty size; read x; exit 3")
	p.Terminal, p.ConsoleSize = true, &specs.Box{Height: 5, Width: 6}
	exits := make(chan Exit, 1)
	proc, err := b.Exec(ctx(t), ExecConfig{ID: "e", Process: p, OnExit: func(e Exit) { exits <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if got := readUntil(t, proc.Terminal(), "\n"); got != "5 6\r\n" {
		t.Errorf("exec: got %q", got)
	}
	if _, err := proc.Terminal().WriteString("x\n"); err != nil {
		t.Fatal(err)
	}
	if e := await(t, exits); e.Status != 3 {
		t.Errorf("got %+v, want status 3", e)
	}
}

func readUntil(t *testing.T, f *os.File, end string) string {
	t.Helper()
	var got []byte
	for b := make([]byte, 1); !bytes.HasSuffix(got, []byte(end)); {
		n, err := f.Read(b)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, b[:n]...)
	}
	return string(got)
}

func TestPause(t *testing.T) {
	w := newWorld(t)
	b := w.start("pause", "sleep", "60")
	if err := b.Pause(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Exec(ctx(t), ExecConfig{ID: "e", Process: process("true")}); !errors.Is(err, ErrPaused) {
		t.Errorf("exec: got %v, want ErrPaused", err)
	}
	if err := b.Resume(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if e, _ := b.exec("true"); e.Status != 0 {
		t.Errorf("resumed: got %+v", e)
	}
	if err := b.Pause(ctx(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Kill(ctx(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := b.wait(); e.Status != 137 {
		t.Errorf("got %+v, want killed", e)
	}
	if err := b.Pause(ctx(t)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("pause the dead: got %v, want ErrNotRunning", err)
	}
}

func TestExecsAtOnce(t *testing.T) {
	w := newWorld(t)
	b := w.start("execs", "sleep", "60")
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			exits := make(chan Exit, 1)
			p, err := b.Exec(ctx(t), ExecConfig{ID: "e", Process: process("sh", "-c", fmt.Sprint("exit ", i)), OnExit: func(e Exit) { exits <- e }})
			if err != nil {
				t.Error(err)
				return
			}
			defer p.Close()
			if e := await(t, exits); e.Status != i || e.Pid != p.Pid() {
				t.Errorf("got %+v, want status %d of %d", e, i, p.Pid())
			}
		})
	}
	wg.Wait()
	if pids, err := b.Pids(); err != nil || len(pids) != 1 {
		t.Errorf("got pids %v, %v; want init's alone", pids, err)
	}
}

func TestHelper(t *testing.T) {
	w := newWorld(t)
	out := newSink(t)
	extra := newSink(t)
	exits := make(chan Exit, 1)
	p, err := w.Helper(ctx(t), HelperConfig{
		Path: "/bin/sh", Args: []string{"sh", "-c", "cat /proc/self/cgroup; pwd; echo $K >&3; exit 6"}, Env: []string{"K=V"},
		Dir: "/tmp", Files: []*os.File{nil, out.w, out.w, extra.w}, OnExit: func(e Exit) { exits <- e },
	})
	out.started()
	extra.started()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if e := await(t, exits); e.Status != 6 || e.Pid != p.Pid() {
		t.Errorf("got %+v, want status 6", e)
	}
	if got := out.text(); !strings.HasSuffix(got, "/tmp\n") || !strings.Contains(got, ":/foundry/") || !strings.Contains(got, "/helpers\n") {
		t.Errorf("got %q, want the helpers' cgroup and /tmp", got)
	}
	if got := extra.text(); got != "V\n" {
		t.Errorf("got %q on the extra descriptor, want V", got)
	}
}

// TestExecRefused names what is wrong with the process by its path.
func TestExecRefused(t *testing.T) {
	w := newWorld(t)
	b := w.start("a", "/bin/sleep", "1000")
	for want, change := range map[string]func(*specs.Process){
		"process.args":        func(p *specs.Process) { p.Args = nil },
		"process.cwd":         func(p *specs.Process) { p.Cwd = "x" },
		"process.oomScoreAdj": func(p *specs.Process) { score := 1001; p.OOMScoreAdj = &score },
	} {
		p := process("/bin/true")
		change(p)
		if _, err := b.Exec(ctx(t), ExecConfig{ID: "e", Process: p}); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
