// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"path"
	"strings"
	"testing"
)

// checkEncodable holds a plan against what the spawner demands of one: it
// refuses a plan that breaks one of these, whatever the spec was.
func checkEncodable(t testing.TB, p *Plan) {
	t.Helper()
	if p.Clone&^uint64(clonePID) != 0 {
		t.Errorf("clone makes %#x", p.Clone)
	}
	if len(p.Steps) > 4096 || len(p.Files) > 120 {
		t.Errorf("%d steps and %d files", len(p.Steps), len(p.Files))
	}
	checkOrder(t, p)
	forks := 0
	for i := range p.Steps {
		s := &p.Steps[i]
		checkStep(t, p, s)
		if s.Op == OpFork {
			forks++
		}
		if last := i == len(p.Steps)-1; last != (s.Op == OpExec || s.Op == OpExecHost) {
			t.Errorf("step %d is %s", i, s)
		}
	}
	if forks > 1 || forks == 1 && p.Clone&clonePID != 0 {
		t.Errorf("%d forks, clone %#x", forks, p.Clone)
	}
}

// checkOrder holds the steps against what each needs of those before it.
func checkOrder(t testing.TB, p *Plan) {
	t.Helper()
	entered, waits, looked, synced := false, false, false, false
	var made, used uint64
	for i := range p.Steps {
		s := &p.Steps[i]
		switch s.Op {
		case OpMapUsers, OpSource, OpIdmapHost, OpUnmountHost, OpMountHost, OpCgroup1, OpOOMScore:
			if entered {
				t.Errorf("%s needs the host's rights", s)
			}
			if s.Op == OpSource {
				made |= 1 << s.A
			}
		case OpFork, OpSetns, OpUnshare:
			if synced || waits && s.Op != OpFork {
				t.Errorf("%s comes too late", s)
			}
		case OpLabel, OpSysctl, OpDup, OpTTY, OpMask, OpTime:
			if looked {
				t.Errorf("%s comes after the lookup", s)
			}
		}
		if s.Flags&FlagSource != 0 {
			if made>>s.FD&1 == 0 || used>>s.FD&1 != 0 {
				t.Errorf("%s: the source was not made, or is used", s)
			}
			used |= 1 << s.FD
		}
		entered = entered || s.Op == OpMapUsers || s.Op == OpSetns && s.A&cloneUser != 0
		waits = s.Op == OpUnshare && s.A&clonePID != 0
		looked = looked || s.Op == OpLookup
		synced = synced || s.Op == OpHooks || s.Op == OpReady || s.Flags&FlagListener != 0
	}
	if made != used {
		t.Errorf("sources %b made, %b used", made, used)
	}
}

func checkStep(t testing.TB, p *Plan, s *Step) {
	t.Helper()
	needsFile := s.Op == OpSetns || s.Op == OpCgroup1 || s.Op == OpDup
	mayFile := needsFile || s.Op == OpSource
	if s.Flags&FlagSource != 0 {
		if s.FD < 0 || s.FD >= maxSources {
			t.Errorf("%s: source %d", s, s.FD)
		}
	} else if s.FD < -1 || s.FD >= len(p.Files) || needsFile && s.FD < 0 || !mayFile && s.FD >= 0 {
		t.Errorf("%s: file %d of %d", s, s.FD, len(p.Files))
	}
	for n, text := range s.S {
		if strings.IndexByte(text, 0) >= 0 && !binaryOperand(s.Op, n) {
			t.Errorf("%s: string %d has a NUL", s, n)
		}
	}
	for _, n := range absoluteOperands[s.Op] {
		if !path.IsAbs(s.S[n]) && !(s.Op == OpBind && n == 1 && s.Flags&FlagSource != 0) {
			t.Errorf("%s: string %d is not absolute", s, n)
		}
	}
	switch s.Op {
	case OpSetns, OpUnshare:
		if s.A == 0 || s.A&^uint64(cloneMount|cloneCgroup|cloneUTS|cloneIPC|clonePID|cloneNet|cloneTime|cloneUser) != 0 {
			t.Errorf("%s: mask %#x", s, s.A)
		}
	case OpUser:
		if len(s.S[0])%4 != 0 {
			t.Errorf("%s: groups of %d bytes", s, len(s.S[0]))
		}
	case OpCaps:
		if len(s.S[0]) != 8 {
			t.Errorf("%s: ambient of %d bytes", s, len(s.S[0]))
		}
	case OpUmask:
		if s.A > 0o777 {
			t.Errorf("%s: mask %#o", s, s.A)
		}
	case OpRlimit:
		if s.A > 15 {
			t.Errorf("%s: number %d", s, s.A)
		}
	case OpScheduler:
		if len(s.S[0]) != schedAttrSize {
			t.Errorf("%s: %d bytes", s, len(s.S[0]))
		}
	case OpAffinity, OpMemPolicy:
		if len(s.S[0])%8 != 0 || len(s.S[0]) > 1024 || s.B != 0 && s.B != uint64(len(s.S[0]))*8 {
			t.Errorf("%s: mask of %d bytes, %d bits", s, len(s.S[0]), s.B)
		}
	case OpSource, OpIdmapHost:
		if (s.S[0] == "") != (s.S[3] == "") || s.S[0] != "" && s.FD >= 0 {
			t.Errorf("%s: maps %q and %q, file %d", s, s.S[0], s.S[3], s.FD)
		}
	case OpExec, OpExecHost:
		if s.S[0] == "" {
			t.Errorf("%s: no arguments", s)
		}
	}
}

// absoluteOperands are the strings that must be absolute paths.
var absoluteOperands = map[Op][]int{
	OpMountHost: {2}, OpRoot: {2}, OpMount: {2}, OpBind: {1, 2}, OpMknod: {2}, OpSymlink: {2}, OpMask: {2}, OpReadonly: {2},
	OpChdir: {0}, OpMkdir: {2}, OpExecHost: {2}, OpSource: {1}, OpIdmapHost: {1, 2}, OpUnmountHost: {2}, OpRemount: {2},
}
