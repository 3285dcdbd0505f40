// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

func TestIO(t *testing.T) {
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{
		{"EveryByte", everyByte},
		{"ReaderComesAndGoes", readerComesAndGoes},
		{"EchoIntoCat", echoIntoCat},
		{"FiftyTerminals", fiftyTerminals},
		{"OrphansOfExecs", orphansOfExecs},
		{"SignalCodes", signalCodes},
	} {
		s.run(t, d)
	}
}

// block is what a container writes over and over. Its length is no multiple of
// anything that the kernel cuts bytes by.
const blockSize = 4<<20 + 13

// repeated checks that what is written to it is a number of blocks.
type repeated struct {
	block []byte
	n     int64
	wrong error
}

func (r *repeated) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		at := int(r.n % int64(len(r.block)))
		part := min(len(p)-done, len(r.block)-at)
		if r.wrong == nil && !bytes.Equal(p[done:done+part], r.block[at:at+part]) {
			r.wrong = fmt.Errorf("the bytes from %d to %d are not those that were written", r.n, r.n+int64(part))
		}
		done += part
		r.n += int64(part)
	}
	return len(p), nil
}

// blocks makes files of random bytes that containers see as /blocks/NAME.
func blocks(t *testing.T, names ...string) (map[string][]byte, oci.SpecOpts) {
	t.Helper()
	dir, all := t.TempDir(), map[string][]byte{}
	for _, name := range names {
		all[name] = make([]byte, blockSize)
		rand.Read(all[name]) // never fails
		if err := os.WriteFile(filepath.Join(dir, name), all[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return all, oci.WithMounts([]specs.Mount{{Type: "bind", Source: dir, Destination: "/blocks", Options: []string{"rbind", "ro"}}})
}

// volume is how many blocks each stream carries: a good GiB.
func volume() int64 {
	if testing.Short() {
		return 16
	}
	return 1<<30/blockSize + 1
}

// Two streams at once, and not a byte is lost, doubled or changed.
func everyByte(t *testing.T, d *env.Daemon) {
	all, mount := blocks(t, "out", "err")
	n := volume()
	script := fmt.Sprintf("again() { i=0; while [ $i -lt %d ]; do cat $1; i=$((i+1)); done; }; again /blocks/err >&2 & again /blocks/out; wait", n)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", script}, Opts: []oci.SpecOpts{mount}})
	out, errs := &repeated{block: all["out"]}, &repeated{block: all["err"]}
	begin := time.Now()
	runWith(t, d, c, cio.NewCreator(cio.WithStreams(nil, out, errs), cio.WithFIFODir(d.Dir+"/io")))
	t.Logf("%d MiB took %s", 2*n*blockSize>>20, time.Since(begin).Round(time.Millisecond))
	for name, r := range map[string]*repeated{"stdout": out, "stderr": errs} {
		if r.wrong != nil || r.n != n*blockSize {
			t.Errorf("%s: got %d bytes, want %d; %v", name, r.n, n*blockSize, r.wrong)
		}
	}
}

// A client is killed in the middle of the output and another one comes: it
// reads on where the first had stopped. The container notices nothing.
func readerComesAndGoes(t *testing.T, d *env.Daemon) {
	const times, visit = 4, 1 << 20
	all, mount := blocks(t, "out")
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do cat /blocks/out || exit 1; i=$((i+1)); done", times)
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", script}, Opts: []oci.SpecOpts{mount}})
	f := newFifos(t, d)
	defer f.reader(f.conf.Stderr).Close()
	r := f.reader(f.conf.Stdout)
	ctx := d.Context(t)
	task, err := c.NewTask(ctx, f.creator())
	if err != nil {
		t.Fatal(err)
	}
	exit, err := task.Wait(ctx)
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := &repeated{block: all["out"]}
	for got.n < times*blockSize {
		n, err := io.CopyN(got, waiting{r}, min(visit, times*blockSize-got.n))
		if err != nil {
			t.Fatalf("read on after %d bytes: %v", got.n+n, err)
		}
		r.Close()
		r = f.reader(f.conf.Stdout)
	}
	r.Close()
	if code := env.Wait(t, exit).ExitCode(); code != 0 || got.wrong != nil {
		t.Errorf("got exit %d, %v", code, got.wrong)
	}
	if _, err := task.Delete(ctx); err != nil {
		t.Error(err)
	}
}

// waiting reads from a fifo that may have no writer for a moment, as it has
// before the server opens it.
type waiting struct{ io.Reader }

func (w waiting) Read(p []byte) (int, error) {
	for range 10_000 {
		n, err := w.Reader.Read(p)
		if n > 0 || err != nil && err != io.EOF && !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		time.Sleep(time.Millisecond)
	}
	return 0, os.ErrDeadlineExceeded
}

// What was written to stdin before it is closed arrives, however close the two
// follow each other, and then stdin ends.
func echoIntoCat(t *testing.T, d *env.Daemon) {
	const n, workers = 500, 16
	task := d.StartTask(t, sleeper(t, d))
	whole := parallel(workers, n, func(i int) string {
		text := fmt.Sprintf("x%d\n", i)
		got, err := throughCat(t, d, task, text)
		if err != nil || got != text {
			t.Errorf("echo %q | cat: got %q, %v", text, got, err)
			return ""
		}
		return got
	})
	if got := len(strings.Join(whole, "")); !t.Failed() && got == 0 {
		t.Error("nothing came through")
	}
}

func throughCat(t *testing.T, d *env.Daemon, task client.Task, text string) (string, error) {
	ctx := d.Context(t)
	spec, err := task.Spec(ctx)
	if err != nil {
		return "", err
	}
	process := *spec.Process
	process.Args = []string{"/bin/cat"}
	in, out := &finite{from: strings.NewReader(text), eof: make(chan struct{})}, &env.Output{}
	p, err := task.Exec(ctx, strings.TrimSpace(text), &process, cio.NewCreator(cio.WithStreams(in, out, &env.Output{}), cio.WithFIFODir(d.Dir+"/io")))
	if err != nil {
		return "", err
	}
	exit, err := p.Wait(ctx)
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		return "", err
	}
	<-in.eof
	if err := p.CloseIO(ctx, client.WithStdinCloser); err != nil {
		return "", fmt.Errorf("close stdin: %w", err)
	}
	select {
	case status := <-exit:
		if status.ExitCode() != 0 {
			return "", fmt.Errorf("exit: got %d", status.ExitCode())
		}
	case <-ctx.Done():
		return "", fmt.Errorf("no exit: %w", ctx.Err())
	}
	_, err = p.Delete(ctx)
	return out.String(), err
}

// A terminal is a descriptor of the server, no process beside the container's.
func fiftyTerminals(t *testing.T, d *env.Daemon) {
	requireFoundry(t)
	const n = 50
	task := d.StartTask(t, sleeper(t, d))
	server := d.Servers()[0]
	before := len(env.Children(server.Spawner))
	var typed []chan string
	for i := range n {
		keys := make(chan string)
		typed = append(typed, keys)
		terminalExec(t, d, task, fmt.Sprint("t", i), keys)
	}
	if got := len(env.Children(server.Spawner)) - before; got != n {
		t.Errorf("processes for %d terminals: got %d", n, got)
	}
	if got := env.Children(server.Pid); len(got) != 0 {
		t.Errorf("children of the server: got %v, want none", got)
	}
	if got := len(d.ShimPids()); got != 2 {
		t.Errorf("processes of the shim: got %d, want server and spawner", got)
	}
	for _, keys := range typed {
		keys <- "exit\n"
	}
	env.Eventually(t, "the shells end", func() bool { return len(env.Children(server.Spawner)) == before })
}

// terminalExec starts a shell on a terminal on which keys are typed.
func terminalExec(t *testing.T, d *env.Daemon, task client.Task, id string, keys chan string) client.Process {
	t.Helper()
	ctx := d.Context(t)
	spec, err := task.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	process := *spec.Process
	process.Args, process.Terminal = []string{"/bin/sh"}, true
	p, err := task.Exec(ctx, id, &process, cio.NewCreator(cio.WithStreams(&typist{keys}, io.Discard, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir+"/io")))
	if err == nil {
		err = p.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}
