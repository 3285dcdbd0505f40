// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/plan"
)

// hostsNull is all that a process could change of the host's null device.
func hostsNull(t *testing.T) string {
	t.Helper()
	s, err := os.Stat("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	owner := s.Sys().(*syscall.Stat_t)
	return fmt.Sprint(s.Mode(), s.ModTime(), owner.Uid, owner.Gid)
}

// keepNull gives the host its null device back, should a test take it.
func keepNull(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		_ = os.Chmod("/dev/null", 0o666)
		_ = os.Chown("/dev/null", 0, 0)
	})
}

// TestNullOfHost: root in a container gets the host's null device behind masks,
// and in place of a stream where it has none of its own. It can read and write
// it, and change nothing of it.
func TestNullOfHost(t *testing.T) {
	w := newWorld(t, 16)
	keepNull(t)
	before := hostsNull(t)
	ct := newContainer(t, "sh", "-c", `
		for f in /secret /proc/self/fd/0; do
			busybox chmod 600 $f && echo changed the mode of $f
			busybox chown 7:7 $f && echo changed the owner of $f
			busybox touch -d 2001-01-01 $f && echo changed the times of $f
			echo text >$f || echo no writing to $f
			cat $f
		done 2>/dev/null; true`)
	if err := os.WriteFile(ct.facts.Rootfs+"/secret", []byte("secret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ct.spec.Linux.MaskedPaths = []string{"/secret"}
	p := ct.plan(t)
	p.Steps = slices.DeleteFunc(p.Steps, func(s plan.Step) bool { return s.Op == plan.OpMknod && s.S[2] == "/dev/null" })
	if got, _ := w.output(p, nil); strings.TrimSpace(got) != "" {
		t.Errorf("got\n%s", got)
	}
	if got := hostsNull(t); got != before {
		t.Errorf("the host's null device: got %s, before %s", got, before)
	}
}

// TestNullOfContainer: a stream that nobody asked for is the container's own
// null device, by name and to do with as it likes.
func TestNullOfContainer(t *testing.T) {
	w := newWorld(t, 16)
	keepNull(t)
	before := hostsNull(t)
	got, _ := w.output(newContainer(t, "sh", "-c", "readlink /proc/self/fd/0; busybox chmod 600 /proc/self/fd/0; ls -l /dev/null | cut -c1-10").plan(t), nil)
	if want := "/dev/null\ncrw-------"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := hostsNull(t); got != before {
		t.Errorf("the host's null device: got %s, before %s", got, before)
	}
}
