// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// attached lists what there is in links/ of a hook: "link", "filter".
func attached(t *testing.T, d *Datapath, h hook) (list []string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(d.dir, linksDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch {
		case f.Name() == h.String():
			list = append(list, "link")
		case strings.HasPrefix(f.Name(), h.String()+recordMark):
			list = append(list, "filter")
		}
	}
	return list
}

// An endpoint that is added to others has a filter at once, and a link soon;
// in between nothing is amiss, and a start finishes what was left.
func TestFilterBeforeLink(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	all := s.Endpoints
	s.Endpoints = all[:1]
	set(t, d, s)
	late := hook{"tc_endpoint", all[1].Ifindex}
	add := func() {
		t.Helper()
		if _, err := d.Update(Delta{Put: State{Endpoints: all[1:]}}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(attached(t, d, late), " "); got != "filter" {
			t.Errorf("at once: got %q, want a filter", got)
		}
		whole := s
		whole.Endpoints = all
		if diff, err := d.Diff(whole); err != nil || len(diff) != 0 {
			t.Errorf("at once: got changes %v, %v", diff, err)
		}
	}
	becomesLink := func() {
		t.Helper()
		eventually(t, "a link in place of the filter", func() bool { return strings.Join(attached(t, d, late), " ") == "link" })
		if id, err := place(late.ifindex).Program(); err != nil || id != 0 {
			t.Errorf("beside the link: got program %d in a filter, %v", id, err)
		}
	}
	add()
	becomesLink()
	if _, err := d.Update(Delta{DeleteEndpoints: []int{late.ifindex}}); err != nil {
		t.Fatal(err)
	}
	add()
	if _, err := d.Update(Delta{DeleteEndpoints: []int{late.ifindex}}); err != nil {
		t.Fatal(err)
	}
	if got := attached(t, d, late); len(got) != 0 {
		t.Errorf("deleted at once: got %v", got)
	}
	add()
	d.Close()
	d = open(t, dir)
	s.Endpoints = all
	set(t, d, s)
	becomesLink()
}
