// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// another makes other programs of the same meaning on maps of another layout.
func another(s *ebpf.CollectionSpec) {
	m := s.Maps["samples"]
	m.ValueSize, m.Key, m.Value = m.ValueSize+8, nil, nil
	for _, p := range s.Programs {
		p.Instructions = slices.Insert(p.Instructions, 1, asm.Mov.Reg(asm.R1, asm.R1))
	}
}

// flow is numbered frames from one container to another.
type flow struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func startFlow(t *testing.T, in func(string) *exec.Cmd, to Endpoint) *flow {
	t.Helper()
	f := &flow{cmd: in("busybox ping -i 0.01 -W 5 -c 1000000 -q " + to.Addrs[0].String())}
	f.cmd.Stdout, f.cmd.Stderr = &f.out, &f.out
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.cmd.Process.Kill(); f.cmd.Wait() })
	return f
}

// end says how many were sent, all of which must have been answered.
func (f *flow) end(t *testing.T) (sent uint64) {
	t.Helper()
	f.cmd.Process.Signal(syscall.SIGINT)
	f.cmd.Wait()
	var received uint64
	_, counts, _ := strings.Cut(f.out.String(), "statistics ---\n")
	if _, err := fmt.Sscanf(counts, "%d packets transmitted, %d packets received", &sent, &received); err != nil {
		t.Fatalf("%v\n%s", err, f.out.String())
	}
	// The last may be on its way.
	if sent-received > 1 || sent == 0 {
		t.Errorf("%d frames sent, %d answered", sent, received)
	}
	return sent
}

// generations lists what there is, and that all of it is in use.
func generations(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, generationPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		list = append(list, filepath.Base(f))
	}
	return list
}

// die ends a data plane in the middle of a Set, after n steps. It says whether
// there were as many.
func die(t *testing.T, d *Datapath, s State, n int) bool {
	t.Helper()
	defer d.Close()
	steps, _, err := d.diffLocked(s)
	if err != nil {
		t.Fatal(err)
	}
	if n > len(steps) {
		return false
	}
	if _, _, err := apply(steps[:n]); err != nil {
		t.Fatal(err)
	}
	return true
}

// Programs and maps of another layout, there and back: a frame is lost neither
// on the way, nor when the way ends after any step of it and somebody goes on,
// or back.
func TestGenerations(t *testing.T) {
	dir := mount(t)
	old, other := Config{Dir: dir}, Config{Dir: dir, MaxFDB: 1000, Edit: another}
	d := openConfig(t, old)
	s := on(t)
	inA := container(t, "pa", s.Endpoints[0])
	container(t, "pb", s.Endpoints[1])
	set(t, d, s)
	d.Close()
	frames := startFlow(t, inA, s.Endpoints[1])
	stride := 2 // back after an even number of steps, on after an odd one
	if testing.Short() {
		stride = 4
	}
	for n := 0; ; n += stride {
		whole := !die(t, openConfig(t, other), s, n)
		back := openConfig(t, old) // back from the middle
		if n == 0 && len(generations(t, dir)) != 2 {
			t.Errorf("opened, not set: got generations %v, want two", generations(t, dir))
		}
		set(t, back, s)
		back.Close()
		die(t, openConfig(t, other), s, n+1)
		next := openConfig(t, other) // on from the middle
		set(t, next, s)
		if got := set(t, next, s); got != "" || len(generations(t, dir)) != 1 {
			t.Errorf("after step %d and another Set: got\n%s and generations %v", n, got, generations(t, dir))
		}
		next.Close()
		die(t, openConfig(t, old), s, n) // and the whole way back
		d = openConfig(t, old)
		set(t, d, s)
		if got := generations(t, dir); len(got) != 1 {
			t.Errorf("after step %d and back: got generations %v, want one", n, got)
		}
		d.Close()
		if whole {
			t.Logf("%d steps", n)
			break
		}
	}
	sent := frames.end(t)
	t.Logf("%d frames", sent)
	checkCounters(t, openConfig(t, old), s, sent)
}

// A generation that is half there, because somebody ended while it was made,
// is completed.
func TestHalfGeneration(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	set(t, d, s)
	d.Close()
	other := Config{Dir: dir, Edit: another}
	d = openConfig(t, other)
	for _, name := range []string{"fdb", "bum", "stats_ep", "events"} {
		if err := os.Remove(filepath.Join(d.maps, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	d = openConfig(t, other)
	set(t, d, s)
	if got := set(t, d, s); got != "" || len(generations(t, dir)) != 1 {
		t.Errorf("got\n%s and generations %v", got, generations(t, dir))
	}
}

// Pins that are gone while somebody has the instance open come back, and so
// does the whole of it when its bpffs was unmounted. Forwarding goes on.
func TestPinsComeBack(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	inA := container(t, "pa", s.Endpoints[0])
	container(t, "pb", s.Endpoints[1])
	set(t, d, s)
	frames := startFlow(t, inA, s.Endpoints[1])
	if err := os.Remove(filepath.Join(d.maps, "fdb")); err != nil {
		t.Fatal(err)
	}
	if got, want := set(t, d, s), "pin map fdb\n"; got != want {
		t.Errorf("without the pin of a map: got\n%swant\n%s", got, want)
	}
	mount := filepath.Dir(dir)
	if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Set(s); err == nil || !strings.Contains(err.Error(), "pin instance: "+dir+": "+dir+" is not on a bpffs") {
		t.Errorf("unmounted: got %v", err)
	}
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	got := set(t, d, s)
	if !strings.HasPrefix(got, "pin instance "+dir+"\npin directory links\npin map bum\n") || strings.Contains(got, "put") || strings.Contains(got, "attach") {
		t.Errorf("mounted again: got\n%s", got)
	}
	if got := set(t, d, s); got != "" {
		t.Errorf("the same again: got\n%s", got)
	}
	d.Close()
	d = open(t, dir)
	if got := set(t, d, s); strings.Contains(got, "put") || strings.Contains(got, "attach") {
		t.Errorf("another process: got\n%s", got)
	}
	t.Logf("%d frames", frames.end(t))
	if err := os.RemoveAll(filepath.Join(dir, linksDir)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	// The links go a moment after their files; until then their places are taken.
	for _, err := d.Set(s); err != nil; _, err = d.Set(s) {
		if !errors.Is(err, unix.EEXIST) || time.Since(begin) > time.Minute {
			t.Fatal(err)
		}
	}
	if got := set(t, d, s); got != "" || len(linkFiles(t, dir)) != 3 {
		t.Errorf("without the directory of links: got\n%s and %v", got, linkFiles(t, dir))
	}
}
