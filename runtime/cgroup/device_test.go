// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// permits says what a rule set means, in the plainest words.
func (s ruleset) permits(kind byte, major, minor int64, want access) bool {
	for d, acc := range s.except {
		about := d.kind == kind && (d.major == anyNumber || d.major == major) && (d.minor == anyNumber || d.minor == minor)
		if about && (s.allow && acc&want != 0 || !s.allow && acc&want == want) {
			return !s.allow
		}
	}
	return s.allow
}

// nodes are devices that every machine has.
var nodes = []struct {
	name         string
	kind         byte
	major, minor int64
}{{"null", 'c', 1, 3}, {"zero", 'c', 1, 5}, {"full", 'c', 1, 7}, {"random", 'c', 1, 8}, {"mem4", 'c', 1, 4}, {"kmsg", 'c', 1, 11}}

// probeEnv makes the test binary try the nodes in that directory and end.
const probeEnv = "FOUNDRY_TEST_PROBE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(probeEnv); dir != "" {
		fmt.Print(tryNodes(dir))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// tryNodes tries every access to every node. A node that has no driver is told
// from a refused one by its error.
func tryNodes(dir string) string {
	answer := func(err error) string {
		switch err {
		case nil, unix.ENXIO, unix.ENODEV:
			return "yes"
		case unix.EPERM:
			return "no"
		}
		return err.Error()
	}
	open := func(p string, flags int) error {
		fd, err := unix.Open(p, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
	var b strings.Builder
	for _, n := range nodes {
		p := filepath.Join(dir, n.name)
		fmt.Fprintf(&b, "%s r %s\n", n.name, answer(open(p, unix.O_RDONLY)))
		fmt.Fprintf(&b, "%s w %s\n", n.name, answer(open(p, unix.O_WRONLY)))
		fmt.Fprintf(&b, "%s rw %s\n", n.name, answer(open(p, unix.O_RDWR)))
		err := unix.Mknod(p+".new", unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(n.major), uint32(n.minor))))
		fmt.Fprintf(&b, "%s m %s\n", n.name, answer(err))
		_ = unix.Unlink(p + ".new")
	}
	return b.String()
}

// probe runs tryNodes inside a group.
func probe(t *testing.T, g *Group, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "result")
	cmd := run(t, g, fmt.Sprintf("%s=%s %s >%s; echo ready", probeEnv, dir, self, out))
	_ = cmd.Wait()
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// expected is what probe should print under rules.
func expected(rules ruleset) string {
	var b strings.Builder
	for _, n := range nodes {
		for _, a := range []struct {
			name string
			acc  access
		}{{"r", accRead}, {"w", accWrite}, {"rw", accRead | accWrite}, {"m", accMknod}} {
			answer := "no"
			if rules.permits(n.kind, n.major, n.minor, a.acc) {
				answer = "yes"
			}
			fmt.Fprintf(&b, "%s %s %s\n", n.name, a.name, answer)
		}
	}
	return b.String()
}

func makeNodes(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "foundry-test") // a file system that lets devices be opened
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, n := range nodes {
		if err := unix.Mknod(filepath.Join(dir, n.name), unix.S_IFCHR|0o666, int(unix.Mkdev(uint32(n.major), uint32(n.minor)))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestDevices lets a process try what each list of rules allows, in a fresh
// group and again after each list became another by Update.
func TestDevices(t *testing.T) {
	info := hostInfo(t)
	base := groupPath(t, info)
	dir := makeNodes(t)
	deny := specs.LinuxDeviceCgroup{Allow: false, Access: "rwm"}
	all := specs.LinuxDeviceCgroup{Allow: true, Access: "rwm"}
	forbid := func(kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		r := rule(kind, major, minor, access)
		r.Allow = false
		return r
	}
	lists := []struct {
		name string
		list []specs.LinuxDeviceCgroup
	}{
		{"standard", []specs.LinuxDeviceCgroup{deny}},
		{"one to read", []specs.LinuxDeviceCgroup{deny, rule("c", 1, 11, "r")}},
		{"one to write", []specs.LinuxDeviceCgroup{deny, rule("c", 1, 11, "w")}},
		{"read and write apart", []specs.LinuxDeviceCgroup{deny, rule("c", 1, 11, "r"), rule("c", 1, 11, "w")}},
		{"a major", []specs.LinuxDeviceCgroup{deny, rule("c", 1, anyNumber, "rw")}},
		{"all", []specs.LinuxDeviceCgroup{deny, all}},
		{"all but one", []specs.LinuxDeviceCgroup{all, forbid("c", 1, 11, "rwm")}},
		{"all but writing one", []specs.LinuxDeviceCgroup{all, forbid("c", 1, 11, "w")}},
	}
	var last *Group
	for n, l := range lists {
		rules, err := rulesOf(l.list)
		if err != nil {
			t.Fatal(err)
		}
		want := expected(rules)
		r := &specs.LinuxResources{Devices: l.list}
		g := create(t, info, fmt.Sprintf("%s_%d", base, n), r)
		compareLines(t, l.name, probe(t, g, dir), want)
		if last == nil {
			last = create(t, info, base, r)
		}
		for range 2 { // the second changes nothing
			if err := last.Update(r); err != nil {
				t.Fatal(err)
			}
		}
		compareLines(t, l.name+" by Update", probe(t, last, dir), want)
		again, err := Open(info, base) // another server does not know what is in force
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Update(r); err != nil {
			t.Errorf("%s again: %v", l.name, err)
		}
		compareLines(t, l.name+" by another", probe(t, last, dir), want)
	}
}

func compareLines(t *testing.T, name, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for n := range min(len(g), len(w)) {
		if g[n] != w[n] {
			t.Errorf("%s: %q, want %q", name, g[n], w[n])
		}
	}
	if len(g) != len(w) {
		t.Errorf("%s: %d answers, want %d", name, len(g), len(w))
	}
}

// A change of rules must not refuse, even for a moment, what both allow.
func TestDevicesStayOpen(t *testing.T) {
	info := hostInfo(t)
	g := create(t, info, groupPath(t, info), nil)
	dir := makeNodes(t)
	run(t, g, "cd "+dir+"; echo ready; while :; do (: <null) 2>/dev/null || echo refused >>bad; : >>turns; done")
	for n := range 200 {
		r := &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, rule("c", 10, int64(n%7), "rw")}}
		if err := g.Update(r); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the group tried", func() bool { return exists(dir + "/turns") })
	if text, _ := os.ReadFile(dir + "/bad"); len(text) > 0 {
		t.Errorf("refused %d times", strings.Count(string(text), "\n"))
	}
}

func TestRulesText(t *testing.T) {
	rules, err := rulesOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimPrefix(rules.String(), "deny\n")
	back, err := parseRules(text)
	if err != nil || !back.equal(rules) {
		t.Errorf("parseRules(%q) = %v, %v", text, back, err)
	}
	if all, err := parseRules("a *:* rwm\n"); err != nil || !all.allow {
		t.Errorf("parseRules of everything = %v, %v", all, err)
	}
	for _, bad := range []string{"c 1:3\n", "c 1:3 x\n", "\n"} {
		if _, err := parseRules(bad); err == nil {
			t.Errorf("parseRules(%q): no error", bad)
		}
	}
	if lines := exceptions(rules, ruleset{}); !slices.Contains(lines, "c 136:* rwm") {
		t.Errorf("standard rules = %q", lines)
	}
}
