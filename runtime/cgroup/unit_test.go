// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"strings"
	"testing"
)

func TestParseUnit(t *testing.T) {
	for _, c := range []struct{ path, where, err string }{
		{path: "system.slice:foundry:web-1", where: "/system.slice/foundry-web-1.scope"},
		{path: ":foundry:web-1", where: "/system.slice/foundry-web-1.scope"},
		{path: "user-1000.slice:cri-containerd:abc", where: "/user.slice/user-1000.slice/cri-containerd-abc.scope"},
		{path: "kubepods-besteffort-pod1_2.slice:cri:c", where: "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-c.scope"},
		{path: "-.slice:foundry:web", where: "/foundry-web.scope"},
		{path: "system.slice::web", where: "/system.slice/-web.scope"},
		{path: "system:foundry:web", err: `"system" is no slice`},
		{path: ".slice:foundry:web", err: "is no slice"},
		{path: "a--b.slice:foundry:web", err: "empty part"},
		{path: "-a.slice:foundry:web", err: "empty part"},
		{path: "a/b.slice:foundry:web", err: `must not contain '/'`},
		{path: "system.slice:foundry:", err: "needs a name"},
		{path: "system.slice:foundry:pod.slice", err: "names a slice"},
		{path: "system.slice:foundry:we b", err: `must not contain ' '`},
		{path: "system.slice:foundry:../x", err: `must not contain '/'`},
		{path: "system.slice:foundry:" + strings.Repeat("x", 250), err: "255"},
	} {
		if !isUnit(c.path) {
			t.Errorf("%q is not taken for a unit", c.path)
		}
		u, err := parseUnit(c.path)
		if c.err != "" {
			var bad *PathError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.path, err, c.err)
			}
			continue
		}
		if err != nil || u.path() != c.where {
			t.Errorf("%q = %q, %v; want %q", c.path, u.path(), err, c.where)
		}
	}
	for _, path := range []string{"/default/web-1", "/a:b:c", "a:b", "a:b:c:d", "system.slice/web"} {
		if isUnit(path) {
			t.Errorf("%q is taken for a unit", path)
		}
	}
}

// A path in systemd's syntax on a host without systemd says what to do.
func TestScopeWithoutSystemd(t *testing.T) {
	info := hostInfo(t)
	if info.bus.call(nothing) == nil {
		t.Skip("systemd runs this host")
	}
	_, err := Create(Config{Info: info, Path: "system.slice:foundry:web-1"})
	if !errors.Is(err, ErrNoSystemd) {
		t.Fatalf("Create: %v, want %v", err, ErrNoSystemd)
	}
	for _, want := range []string{`"system.slice:foundry:web-1"`, "/run/systemd/system", "SystemdCgroup = false"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	// What was never made is removed without systemd.
	g, err := Open(info, "system.slice:foundry:web-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Remove(); err != nil {
		t.Errorf("Remove: %v", err)
	}
}
