// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fragile is a log program that a test can take away and keep away.
type fragile struct {
	*programs
	broken atomic.Bool
	last   atomic.Pointer[program]
}

func (f *fragile) spawn(ctx context.Context, l Logger) (LoggerProcess, error) {
	if f.broken.Load() {
		return nil, errors.New("the program is not there")
	}
	p, err := f.programs.spawn(ctx, l)
	if err == nil {
		x := p.(program)
		f.last.Store(&x)
	}
	return p, err
}

func fragileLogger(t *testing.T, p *Pump, b Backlog, tty bool) (*IO, *fragile, string) {
	t.Helper()
	return badLogger(t, p, Config{Backlog: b, Terminal: tty}, "child")
}

func badLogger(t *testing.T, p *Pump, cfg Config, how string) (*IO, *fragile, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	uri := fmt.Sprintf("binary-v2://%s?ready=byte&how=%s&out=%s/out&err=%s/err", self, how, dir, dir)
	f := &fragile{programs: &programs{t: t}}
	t.Cleanup(f.wg.Wait)
	cfg.Stdout, cfg.Stderr, cfg.ContainerID, cfg.Namespace, cfg.Spawn = uri, uri, "c1", "ns1", f.spawn
	x, err := p.Open(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x, f, dir
}

// A log program is killed and cannot be started again for a while. The process
// goes on; the next program gets the newest lines.
func TestLoggerIsAway(t *testing.T) {
	for _, tty := range []bool{false, true} {
		t.Run(fmt.Sprint("terminal=", tty), func(t *testing.T) {
			p := testPump(t)
			x, f, dir := fragileLogger(t, p, Backlog{Bytes: testRing}, tty)
			var out *os.File
			if tty {
				var master *os.File
				master, out = openPty(t)
				makeRaw(t, out)
				if err := x.Start(master); err != nil {
					t.Fatal(err)
				}
			} else {
				start(t, x)
				_, out, _ = x.Child()
			}
			logged := func() string {
				b, _ := os.ReadFile(dir + "/out")
				return string(b)
			}
			write(t, out, numbered(0, 10))
			eventually(t, "logged", func() bool { return logged() == numbered(0, 10) })
			f.broken.Store(true)
			if err := f.last.Load().Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is dead", func() bool { return len(f.ends()) == 1 }) // and takes no more bytes along
			const n = 4 << 20 / 16
			if err := lines(out, 10, n); err != nil { // in this goroutine: it would hang
				t.Fatal(err)
			}
			f.broken.Store(false)
			if tty {
				out.Close()
			} else {
				x.CloseChild()
			}
			drain(t, x)
			if err := x.Close(); err != nil {
				t.Error(err)
			}
			got, _, _ := strings.Cut(logged(), "[") // the program's farewell
			missing := gapOf(t, strings.NewReader(got), n+10)
			if lost := x.Lost().Stdout; missing == 0 || lost != uint64(missing)*16 {
				t.Errorf("lost: got %d, want %d", lost, missing*16)
			}
		})
	}
}

// A log program that stays away does not hold up Drain.
func TestDrainWithoutLogger(t *testing.T) {
	p := testPump(t)
	x, f, _ := fragileLogger(t, p, Backlog{Bytes: testRing}, false)
	start(t, x)
	_, out, _ := x.Child()
	f.broken.Store(true)
	if err := f.last.Load().Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := lines(out, 0, 1<<20/16); err != nil {
		t.Fatal(err)
	}
	x.CloseChild()
	wantStuck(t, x, "stdout: the log program does not run")
}

// Nor does one that dies as often as it is started, ready though it is each time.
func TestDrainWithDyingLogger(t *testing.T) {
	p := testPump(t)
	x, f, _ := badLogger(t, p, Config{Backlog: Backlog{Bytes: testRing}}, "deaf")
	start(t, x)
	_, out, _ := x.Child()
	if err := lines(out, 0, 1<<20/16); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it dies again and again", func() bool { return len(f.ends()) > 3 })
	x.CloseChild()
	wantStuck(t, x, "stdout: the log program does not run")
}

// What a log program has started dies with it: it would take bytes from the
// successor.
func TestChildrenOfDeadLogger(t *testing.T) {
	p := testPump(t)
	x, f, dir := fragileLogger(t, p, Backlog{Bytes: testRing}, false)
	start(t, x)
	var child int
	eventually(t, "the program has a child", func() bool {
		b, _ := os.ReadFile(dir + "/out.child")
		child, _ = strconv.Atoi(string(b))
		return child > 0
	})
	if err := f.last.Load().Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	_ = unix.Kill(child, unix.SIGKILL)
	_, out, _ := x.Child()
	write(t, out, numbered(0, 100))
	x.CloseChild()
	drain(t, x)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	wantFile(t, dir+"/out", numbered(0, 100)+logEnv)
}
