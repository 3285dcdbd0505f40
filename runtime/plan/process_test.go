// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestOrderAroundReady covers what architecture and kernel demand: with
// no_new_privs or without a filter all is done before ready; a filter without
// no_new_privs needs the capabilities that it precedes.
func TestOrderAroundReady(t *testing.T) {
	ops := []Op{OpNoNewPrivs, OpBound, OpKeepCaps, OpUser, OpCaps, OpChdir, OpLookup, OpRlimit, OpReady, OpSeccomp, OpExec}
	for _, row := range []struct {
		nnp, filter bool
		want        string
	}{
		{false, false, "chdir rlimit bound keep-caps user caps lookup ready exec"},
		{true, false, "chdir rlimit no-new-privs bound keep-caps user caps lookup ready exec"},
		{true, true, "chdir rlimit no-new-privs bound keep-caps user caps lookup ready seccomp exec"},
		{false, true, "chdir lookup rlimit ready seccomp bound keep-caps user caps exec"},
	} {
		spec, facts := testSpec(), testFacts()
		spec.Process.NoNewPrivileges = row.nnp
		spec.Process.User = specs.User{UID: 5, GID: 6}
		spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 1, Hard: 1<<64 - 1}}
		if row.filter {
			facts.Seccomp = make([]byte, 8)
		}
		p, err := New(spec, facts)
		if err != nil {
			t.Fatal(err)
		}
		if got := opSequence(p, ops); got != row.want {
			t.Errorf("nnp %v, filter %v: got %s, want %s", row.nnp, row.filter, got, row.want)
		}
	}
}

func opSequence(p *Plan, of []Op) string {
	var out []string
	for _, s := range p.Steps {
		if slices.Contains(of, s.Op) {
			out = append(out, s.Op.String())
		}
	}
	return strings.Join(out, " ")
}

// TestExecIsReadyOnlyWithATerminal: without one nobody waits, and exec costs
// no round trip.
func TestExecIsReadyOnlyWithATerminal(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		for _, filter := range [][]byte{nil, make([]byte, 8)} {
			facts := testFacts()
			facts.Seccomp = filter
			p, err := NewExec(testSpec(), &specs.Process{Terminal: terminal, Cwd: "/", Args: []string{"true"}}, facts)
			if err != nil {
				t.Fatal(err)
			}
			checkEncodable(t, p)
			if got := opSequence(p, []Op{OpReady}) != ""; got != terminal {
				t.Errorf("terminal %v: ready %v", terminal, got)
			}
		}
	}
}

func TestExecInherits(t *testing.T) {
	score, umask := 5, uint32(0o77)
	spec := testSpec()
	spec.Process.OOMScoreAdj = &score
	spec.Process.User.Umask = &umask
	spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1, Hard: 2}}
	spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}}
	spec.Process.NoNewPrivileges = true

	own, ownMask := 9, uint32(0)
	for _, row := range []struct {
		process specs.Process
		want    string
	}{
		{specs.Process{}, "oom-score 5, umask 077, rlimit nofile 1 2, bound kill"},
		{specs.Process{
			OOMScoreAdj: &own, User: specs.User{Umask: &ownMask}, Rlimits: []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Soft: 1, Hard: 1}},
			Capabilities: &specs.LinuxCapabilities{},
		}, "oom-score 9, umask 0, rlimit cpu 1 1, bound none"},
	} {
		p := row.process
		p.Cwd, p.Args = "/", []string{"true"}
		plan, err := NewExec(spec, &p, testFacts())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range plan.Steps {
			if s := &plan.Steps[i]; slices.Contains([]Op{OpOOMScore, OpUmask, OpRlimit, OpBound, OpNoNewPrivs}, s.Op) {
				got = append(got, s.String())
			}
		}
		if text := strings.Join(got, ", "); text != row.want {
			t.Errorf("got %s, want %s", text, row.want)
		}
	}
}

func TestCapabilities(t *testing.T) {
	all := &specs.LinuxCapabilities{
		Bounding: []string{"CAP_CHOWN", "CAP_KILL", "CAP_BPF", "CAP_FUTURE", "KILL"}, Permitted: []string{"CAP_CHOWN", "CAP_BPF"},
		Effective: []string{"CAP_CHOWN", "CAP_KILL"}, Inheritable: []string{"CAP_CHOWN", "CAP_NET_RAW"}, Ambient: []string{"CAP_CHOWN", "CAP_BPF"},
	}
	for _, row := range []struct {
		name string
		caps *specs.LinuxCapabilities
		with func(*Facts)
		want []string
	}{
		{"none", nil, nil, []string{"bound none", "caps effective=permitted=none inheritable=none ambient=none"}},
		{"within each other", all, nil, []string{"bound chown,kill,bpf", "caps effective=chown permitted=chown,bpf inheritable=chown ambient=chown"}},
		{"an old kernel", all, func(f *Facts) { f.LastCap = 37 }, []string{"bound chown,kill", "caps effective=permitted=chown inheritable=chown ambient=chown"}},
		{"a host that lacks one", all, func(f *Facts) { f.Caps = 1 << 5 }, []string{"bound kill", "caps effective=permitted=none inheritable=none ambient=none"}},
	} {
		spec, facts := testSpec(), testFacts()
		spec.Process.Capabilities = row.caps
		if row.with != nil {
			row.with(&facts)
		}
		check(t, row.name, lines(t, spec, facts, OpBound, OpCaps), row.want...)
	}
}

func TestEnvironment(t *testing.T) {
	for _, row := range []struct {
		uid  uint32
		env  []string
		want string
	}{
		{0, nil, "[HOME=/]"},
		{1, nil, "[HOME=/]"},
		{0, []string{"HOME=/h", "A=1"}, "[HOME=/h A=1]"},
		{1, []string{"HOME=", "A=1"}, "[A=1 HOME=/]"},
		{0, []string{"A=1", "HOME=/h", "B=2", "A=3", "HOME="}, "[B=2 A=3 HOME=/]"},
		{0, []string{"A=1=2", "AB=3", "HOME=/"}, "[A=1=2 AB=3 HOME=/]"},
	} {
		got := fmt.Sprint(environment(&specs.Process{User: specs.User{UID: row.uid}, Env: row.env}))
		if got != row.want {
			t.Errorf("%v: got %s, want %s", row.env, got, row.want)
		}
	}
}

func TestLookupTakesTheLastPATH(t *testing.T) {
	spec := testSpec()
	spec.Process.Env = []string{"PATH=/a", "XPATH=/c", "PATH=/b"}
	check(t, "lookup", lines(t, spec, testFacts(), OpLookup), "lookup true in /b with the home of 0")
}

func TestTerminal(t *testing.T) {
	spec := testSpec()
	spec.Process.Terminal = true
	spec.Process.User.UID = 1000
	spec.Process.ConsoleSize = &specs.Box{Height: 24, Width: 1 << 20}
	check(t, "no group in devpts", lines(t, spec, testFacts(), OpTTY, OpDup), "tty 65535x24 1000:0 console")
	spec.Mounts = []specs.Mount{{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"gid=x", "gid=5"}}}
	check(t, "group in devpts", lines(t, spec, testFacts(), OpTTY, OpDup), "tty 65535x24 1000:5 console")
}

// TestWorkingDirectory: the directory is made before the root is read-only,
// and entered again when masks may cover it.
func TestWorkingDirectory(t *testing.T) {
	spec := testSpec()
	spec.Process.Cwd = "/work/x"
	spec.Root.Readonly = true
	spec.Linux.MaskedPaths = []string{"/work"}
	check(t, "cwd", lines(t, spec, testFacts(), OpPivot, OpChdir, OpRootReadonly, OpMask),
		"pivot", "chdir /work/x (made when absent)", "root-readonly", "mask /work", "chdir /work/x")
}

func TestSysctlsFollowHooks(t *testing.T) {
	spec, facts := testSpec(), testFacts()
	facts.Hooks = true
	spec.Linux.Sysctl = map[string]string{"net.b": "2", "net.a": "1 2"}
	check(t, "sysctls", lines(t, spec, facts, OpHooks, OpSysctl, OpPivot),
		"hooks create-runtime", "sysctl net/a = \"1 2\"", "sysctl net/b = 2", "pivot")
}

func TestHelperArguments(t *testing.T) {
	p := NewHelper(Helper{Path: "/bin/x\x00y", Env: []string{"A=\x00"}, Dir: "/b"})
	checkEncodable(t, p)
	if got := p.Steps[len(p.Steps)-1].String(); got != "exec-host /bin/x [/bin/x] env [A=]" {
		t.Error(got)
	}
}

// TestIncompleteSpec: a spec that did not pass package oci is an error, no
// crash.
func TestIncompleteSpec(t *testing.T) {
	full := testSpec()
	for _, spec := range []*specs.Spec{{}, {Process: full.Process}, {Process: full.Process, Root: full.Root}} {
		if _, err := New(spec, testFacts()); err == nil {
			t.Errorf("%v: a plan", spec)
		}
		if _, err := NewExec(spec, full.Process, testFacts()); err == nil {
			t.Errorf("%v: an exec plan", spec)
		}
	}
	full.Process.Args = nil
	if _, err := New(full, testFacts()); err == nil {
		t.Error("a plan without arguments")
	}
	if _, err := NewExec(testSpec(), nil, testFacts()); err == nil {
		t.Error("an exec plan of nothing")
	}
}

func TestOpNames(t *testing.T) {
	seen := make(map[string]Op)
	for op := OpEnd; op < OpCount; op++ {
		name := op.String()
		if other, found := seen[name]; found || strings.HasPrefix(name, "op-") {
			t.Errorf("op %d is called %q, as %d", op, name, other)
		}
		seen[name] = op
	}
	if got := Op(999).String(); got != "op-999" {
		t.Error(got)
	}
}
