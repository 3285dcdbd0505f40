// SPDX-License-Identifier: Apache-2.0

package stdio

import "testing"

func TestAbandoned(t *testing.T) {
	p := testPump(t)
	out, errs := fifo(t, "out"), fifo(t, "err")
	x := testOpen(t, p, Config{Stdout: out, Stderr: errs})
	start(t, x)
	wants := func(when string, want bool) {
		t.Helper()
		if got := x.Abandoned(); got != want {
			t.Errorf("%s: got %v", when, got)
		}
	}
	wants("nobody has come", true)
	r := reader(t, out)
	wants("one of two is read", false)
	_, w, _ := x.Child()
	write(t, w, "x")
	readN(t, r, 1) // looking disturbs nothing
	r.Close()
	wants("it has gone", true)
	r = reader(t, errs)
	wants("another is read", false)
	r.Close()
	x.CloseChild()
	drain(t, x)
	wants("the process has closed its output", false)
	y := testOpen(t, p, Config{Stdout: "file://" + t.TempDir() + "/log"})
	start(t, y)
	if y.Abandoned() {
		t.Error("a file: got true")
	}
}
