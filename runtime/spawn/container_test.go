// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"strings"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestContainerRuns(t *testing.T) {
	w := newWorld(t, 16)
	for script, want := range map[string]string{
		"echo $$":                       "1",
		"echo $WHO":                     "test",
		"cat /proc/sys/kernel/hostname": "",
		"echo * ":                       "bin dev etc proc run sys tmp",
		"cat /proc/kcore":               "",
		"umask":                         "0022",
		"echo /proc/self/fd/*":          "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3",
		"exit 3":                        "",
	} {
		got, e := w.output(newContainer(t, "sh", "-c", script).plan(t), nil)
		if got != want && want != "" {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
		if script == "exit 3" && e.Status != 3 {
			t.Errorf("%s: status %d", script, e.Status)
		}
	}
}

func TestExecIntoContainer(t *testing.T) {
	w := newWorld(t, 16)
	c := newContainer(t, "sleep", "1000")
	init := w.spawn(c.plan(t))
	w.run(init)
	got, e := w.output(c.exec(t, specs.Process{}, "sh", "-c", "readlink /proc/1/exe; echo $$; exit 9"), init.Pidfd)
	lines := strings.Fields(got)
	if len(lines) != 2 || lines[0] != "/bin/busybox" || lines[1] == "1" || e.Status != 9 {
		t.Errorf("exec: got %q, status %d", got, e.Status)
	}
	if err := init.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := w.exit(init); e.Status != 137 {
		t.Errorf("init: status %d, want 137", e.Status)
	}
}
