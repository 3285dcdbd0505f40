// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"syscall"
	"testing"
)

func TestExitStatus(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		script       string
		status, sign int
	}{
		{"exit 0", 0, 0},
		{"exit 7", 7, 0},
		{"exit 255", 255, 0},
		{"kill -9 $$", 137, 9},
		{"kill -15 $$", 143, 15},
		{"kill -11 $$", 139, 11},
	} {
		p := w.spawn(hostPlan("sh", "-c", c.script))
		w.reach(p, PointExec)
		e := w.exit(p)
		if e.Status != c.status || e.Signal != c.sign || e.Pid != p.Pid {
			t.Errorf("%s: got %+v, want status %d, signal %d, pid %d", c.script, e, c.status, c.sign, p.Pid)
		}
		if err := p.Signal(syscall.SIGTERM); err == nil {
			t.Error("a process that has ended took a signal")
		}
	}
}
