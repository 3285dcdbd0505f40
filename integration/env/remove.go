// SPDX-License-Identifier: Apache-2.0

package env

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// remove takes the whole daemon away. Containers that tests made are deleted by
// then; what is left of them is reported before it is removed by force, so that
// one test's leak is not the next one's failure.
func (d *Daemon) remove(t testing.TB) {
	t.Helper()
	d.CheckLeaks(t)
	if t.Failed() {
		t.Logf("containerd's log ends:\n%s", d.Log())
		for _, s := range d.Servers() {
			b, _ := os.ReadFile(s.Dir + "/log")
			t.Logf("foundryd's log ends:\n%s", b[max(0, len(b)-8<<10):])
		}
	}
	instances, _ := filepath.Glob(d.Dir + "/f/*")
	d.end(t, syscall.SIGTERM)
	d.killAll(t)
	for _, m := range reversed(d.mounts()) {
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", m, err)
		}
	}
	d.removeCgroups(instances)
	if err := os.RemoveAll(d.Dir); err != nil {
		t.Errorf("remove daemon's directory: %v", err)
	}
}

// killAll kills the servers, their spawners and whatever they left, and waits
// until they are gone: their cgroups cannot be removed before.
func (d *Daemon) killAll(t testing.TB) {
	t.Helper()
	d.thaw()
	deadline := time.Now().Add(20 * time.Second * Slowness())
	for {
		left := d.processes()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("processes do not end: %v", left)
			return
		}
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// thaw lets those die that a test left frozen.
func (d *Daemon) thaw() {
	for _, pattern := range []string{"freezer/" + d.Namespace + "*", "freezer/" + d.Namespace + "*/*"} {
		found, _ := filepath.Glob("/sys/fs/cgroup/" + pattern + "/freezer.state")
		for _, f := range found {
			_ = os.WriteFile(f, []byte("THAWED"), 0)
		}
	}
}

// removeCgroups removes the groups of the namespace and of the instances, which
// are named after their directories. rmdir refuses any that is in use.
func (d *Daemon) removeCgroups(instances []string) {
	names := []string{d.Namespace}
	for _, i := range instances {
		names = append(names, filepath.Base(i))
	}
	var dirs []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		for _, n := range names {
			if strings.Contains(path, n) {
				dirs = append(dirs, path)
			}
		}
		return nil
	})
	for _, dir := range reversed(dirs) {
		_ = syscall.Rmdir(dir)
	}
}

func reversed(in []string) []string {
	out := make([]string, 0, len(in))
	for i := len(in) - 1; i >= 0; i-- {
		out = append(out, in[i])
	}
	return out
}
