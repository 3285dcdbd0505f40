// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"foundry/runtime/plan"
)

// image makes a small ext4 image with a file "inside".
func image(t *testing.T) string {
	t.Helper()
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		t.Skip("SKIPPED: needs mkfs.ext4")
	}
	requireFile(t, "/dev/loop-control")
	tree, file := t.TempDir(), filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(filepath.Join(tree, "inside"), []byte("of the image\n"), 0o644))
	if out, err := exec.Command(mkfs, "-q", "-O", "^has_journal", "-d", tree, file, "1M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return file
}

// loops are the loop devices that have file behind them. In a root that was
// chrooted into, the kernel's name for it is longer than ours.
func loops(t *testing.T, file string) (out []string) {
	t.Helper()
	backing, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	must(t, err)
	for _, name := range backing {
		if b, err := os.ReadFile(name); err == nil && strings.HasSuffix(strings.TrimSpace(string(b)), file) {
			out = append(out, name)
		}
	}
	return out
}

// vanish waits until the kernel has let go of file: the last unmount is its
// own work, after the exit of the namespace's last process.
func vanish(t *testing.T, file string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(loops(t, file)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("loop devices of %s stay: %v", file, loops(t, file))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestLoop: an image as a mount of the spec and as one of the Create request,
// for reading and for writing; its loop device goes with it.
func TestLoop(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		name string
		step plan.Step
		want string
	}{
		{"mount", plan.Step{Op: plan.OpMount}, "of the image\nwritten"},
		{"read-only mount", plan.Step{Op: plan.OpMount, A: attrReadonly}, "of the image\nsh: can't create /mnt/x: Read-only file system"},
		{"read-only superblock", plan.Step{Op: plan.OpMount, S: [4]string{3: "ro"}}, "of the image\nsh: can't create /mnt/x: Read-only file system"},
		{"mount of the request", plan.Step{Op: plan.OpMountHost}, "of the image\nwritten"},
		{"read-only mount of the request", plan.Step{Op: plan.OpMountHost, A: 1}, "of the image\nsh: can't create /mnt/x: Read-only file system"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := image(t)
			before, err := os.ReadFile(file)
			must(t, err)
			ct := newContainer(t, "sh", "-c", "cat /mnt/inside; echo written >/mnt/x && cat /mnt/x")
			p := ct.plan(t)
			c.step.Flags, c.step.FD = plan.FlagLoop, -1
			c.step.S[0], c.step.S[1], c.step.S[2] = "ext4", file, "/mnt"
			if c.step.Op == plan.OpMountHost {
				c.step.S[2] = ct.facts.Rootfs + "/tmp"
				p.Steps[len(p.Steps)-1].S[0] = strings.ReplaceAll(p.Steps[len(p.Steps)-1].S[0], "/mnt", "/tmp")
				c.want = strings.ReplaceAll(c.want, "/mnt", "/tmp")
				insert(p, plan.OpRoot, c.step)
			} else {
				insert(p, plan.OpPivot, c.step)
			}
			if got, _ := w.output(p, nil); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			vanish(t, file)
			after, err := os.ReadFile(file)
			must(t, err)
			if strings.Contains(c.name, "read-only") && string(before) != string(after) {
				t.Error("the image was written to")
			}
		})
	}
}

// TestLoopsAtOnce: many look for a free device at the same time.
func TestLoopsAtOnce(t *testing.T) {
	w := newWorld(t, 32)
	file := image(t)
	const n = 12
	procs := make([]*Process, n)
	var all sync.WaitGroup
	for i := range procs {
		ct := newContainer(t, "sleep", "1000")
		p := ct.plan(t)
		insert(p, plan.OpPivot, plan.Step{Op: plan.OpMount, Flags: plan.FlagLoop, FD: -1, A: attrReadonly, S: [4]string{"ext4", file, "/mnt"}})
		all.Go(func() {
			procs[i], _ = w.try(p)
		})
	}
	all.Wait()
	for i, p := range procs {
		if p == nil {
			t.Fatalf("process %d was not made", i)
		}
		w.reach(p, PointReady)
	}
	if got := len(loops(t, file)); got != n {
		t.Errorf("%d loop devices for %d mounts", got, n)
	}
	for _, p := range procs {
		must(t, p.Signal(9))
	}
	for range procs {
		e := <-w.exits
		must(t, w.client.Ack(e))
	}
	vanish(t, file)
}

func TestLoopErrors(t *testing.T) {
	requireFile(t, "/dev/loop-control")
	w := newWorld(t, 16)
	dir := t.TempDir()
	noFS := filepath.Join(dir, "empty")
	must(t, os.WriteFile(noFS, make([]byte, 1<<16), 0o644))
	for _, c := range []struct{ file, want string }{
		{"/nosuch/image", "open image /nosuch/image: no such file or directory"},
		{"/dev/null", "open image /dev/null: not a regular file: invalid argument"},
		{noFS, "mount ext4 on /mnt: invalid argument"},
	} {
		p := newContainer(t, "true").plan(t)
		insert(p, plan.OpPivot, plan.Step{Op: plan.OpMount, Flags: plan.FlagLoop, FD: -1, S: [4]string{"ext4", c.file, "/mnt"}})
		proc := w.spawn(p)
		_, err := proc.Sync(w.context())
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.file, err, c.want)
		}
		w.exit(proc)
		vanish(t, c.file)
	}
}

// TestDeviceStays: what an image has at the place of a device is left, as runc
// leaves it.
func TestDeviceStays(t *testing.T) {
	w := newWorld(t, 4)
	ct := newContainer(t, "cat", "/plain")
	must(t, os.WriteFile(filepath.Join(ct.facts.Rootfs, "plain"), []byte("a file\n"), 0o644))
	p := ct.plan(t)
	insert(p, plan.OpPivot, plan.Step{Op: plan.OpMknod, FD: -1, A: 0o20666, B: 0x103, S: [4]string{2: "/plain"}})
	if got, _ := w.output(p, nil); got != "a file" {
		t.Errorf("got %q", got)
	}
}

// TestLoopOptional: what an optional mount could not do is not the next one's.
func TestLoopOptional(t *testing.T) {
	w := newWorld(t, 4)
	file := image(t)
	empty := filepath.Join(t.TempDir(), "empty")
	must(t, os.WriteFile(empty, make([]byte, 1<<16), 0o644))
	ct := newContainer(t, "sh", "-c", "grep -o ' /[abc] .* - .*' /proc/self/mountinfo | cut -d' ' -f2,5,6; cat /b/inside")
	p := ct.plan(t)
	for _, s := range []plan.Step{
		{Flags: plan.FlagLoop | plan.FlagOptional, S: [4]string{"ext4", empty, "/a"}},
		{S: [4]string{"tmpfs", "plain", "/c"}},
		{Flags: plan.FlagLoop, S: [4]string{"ext4", file, "/b", "ro"}},
	} {
		s.Op, s.FD = plan.OpMount, -1
		insert(p, plan.OpPivot, s)
	}
	if got, _ := w.output(p, nil); !strings.HasPrefix(got, "/c tmpfs plain\n/b ext4 /dev/loop") || !strings.HasSuffix(got, "\nof the image") {
		t.Errorf("got\n%s", got)
	}
	vanish(t, file)
	vanish(t, empty)
}
