// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
)

var update = flag.Bool("update", false, "write the goldens anew")

// vector is a frame for both programs of a hook, and what becomes of it. The
// golden of its table has the frame that comes out and every counter that
// moved.
type vector struct {
	name   string
	in     []byte
	uplink bool                     // came in there, not from macA
	ep     func(*Endpoint, *Config) // changes of the sender, or of the settings
	want   string                   // action and reason
	xdp    string                   // where XDP decides otherwise
	gso    uint32                   // tc: the frame is segments of this size
	kernel string                   // uplink: where it is decided otherwise when the kernel's device decapsulates; nothing: by that
}

// result is all that a run can be seen to do.
type result struct {
	verdict string
	out     []byte
	moved   []string // counters of endpoints
}

func (r result) String() string {
	var s strings.Builder
	if !strings.HasPrefix(r.verdict, "drop") {
		s.WriteString(dump(r.out))
	}
	for _, line := range r.moved {
		fmt.Fprintf(&s, "     # %s\n", line)
	}
	return s.String()
}

// skbContext is struct __sk_buff, as far as a test run takes it.
type skbContext struct {
	_       [41]uint32 // up to gso_segs
	GsoSegs uint32
	_       [2]uint32 // sk
	GsoSize uint32
	_       [3]uint32
}

// verdicts are what a hook may return, by action.
var verdicts = map[string]map[Action][]uint32{
	"tc": {TCActionACT_PASS: {0}, TCActionACT_DROP: {2}, TCActionACT_REDIRECT: {7}, TCActionACT_REPLY: {7}, TCActionACT_FLOOD: {2}},
	"xdp": {TCActionACT_PASS: {2}, TCActionACT_DROP: {1}, TCActionACT_REDIRECT: {4}, TCActionACT_REPLY: {4},
		TCActionACT_FLOOD: {1}},
}

func (w *world) run(hook string, v vector) result {
	w.Helper()
	coll, program := w.tc, hook+"_endpoint"
	if hook == "xdp" {
		coll = w.xdp
	}
	if v.uplink {
		program = hook + "_uplink"
	}
	opts := &ebpf.RunOptions{Data: v.in, DataOut: make([]byte, len(v.in)+512), Repeat: 1}
	if v.gso > 0 {
		opts.Context = &skbContext{GsoSize: v.gso, GsoSegs: 2}
	}
	before := w.totals()
	w.endpoints()
	ret, err := coll.Programs[program].Run(opts)
	if errors.Is(err, syscall.EINVAL) && hook == "tc" && refused(v.in) {
		return result{verdict: v.want}
	}
	if err != nil {
		w.Fatalf("%s: run %s: %v", v.name, program, err)
	}
	action, reason := w.counted(v.name, before, w.totals())
	if !slices.Contains(verdicts[hook][action], ret) {
		w.Fatalf("%s: %s returned %d, but counted %s %s", v.name, program, ret, w.names.Actions[action], w.names.Reasons[reason])
	}
	return result{verdict: w.names.Actions[action] + " " + w.names.Reasons[reason], out: opts.DataOut, moved: w.endpoints()}
}

// refused says whether a test run takes such a frame not at all as an skb:
// its protocol needs a longer header.
func refused(in []byte) bool {
	kind := be.Uint16(in[12:])
	return kind == 0x0800 && len(in) < 34 || kind == 0x86dd && len(in) < 54
}

// counted finds the one counter that moved, by one.
func (w *world) counted(name string, before, after [int(TCActionACT_COUNT) * ReasonSlots]uint64) (Action, Reason) {
	w.Helper()
	found := -1
	for slot, n := range after {
		switch {
		case n == before[slot]:
		case n == before[slot]+1 && found < 0:
			found = int(slot)
		default:
			w.Fatalf("%s: more than one count of one frame", name)
		}
	}
	if found < 0 {
		w.Fatalf("%s: nothing was counted", name)
	}
	return Action(found / ReasonSlots), Reason(found % ReasonSlots)
}

// try runs a vector at both hooks and returns its text for the golden.
func (w *world) try(t *testing.T, v vector) string {
	t.Helper()
	ep, c := sender(), settings()
	if v.ep != nil {
		v.ep(&ep, &c)
	}
	w.configure(ep, c)
	var s strings.Builder
	fmt.Fprintf(&s, "== %s\nin\n%s", v.name, dump(v.in))
	tc := w.run("tc", v)
	if tc.verdict != v.want {
		t.Errorf("%s: tc: got %q, want %q", v.name, tc.verdict, v.want)
	}
	fmt.Fprintf(&s, "tc: %s\n%s", tc.verdict, tc)
	if v.gso > 0 {
		return s.String() + "\n"
	}
	want := v.xdp
	if want == "" {
		want = v.want
	}
	xdp := w.run("xdp", v)
	if xdp.verdict != want {
		t.Errorf("%s: xdp: got %q, want %q", v.name, xdp.verdict, want)
	}
	if strings.HasPrefix(xdp.verdict, "pass") && !bytes.Equal(xdp.out, v.in) {
		t.Errorf("%s: xdp changed a frame that it passed on", v.name)
	}
	if tc.verdict == xdp.verdict && tc.String() == xdp.String() {
		return s.String() + "xdp: the same\n\n"
	}
	fmt.Fprintf(&s, "xdp: %s\n%s\n", xdp.verdict, xdp)
	return s.String()
}

// golden runs a table and compares all of it with testdata/<name>.txt.
func golden(t *testing.T, name string, table []vector) {
	t.Helper()
	w := newWorld(t)
	var got strings.Builder
	for _, v := range table {
		got.WriteString(w.try(t, v))
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs: run with -update and read the diff\n%s", path, firstDifference(got.String(), string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n\n"), strings.Split(want, "\n\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			return fmt.Sprintf("got\n%s\nwant\n%s", g[i], w[min(i, len(w)-1)])
		}
	}
	return "vectors are missing at the end"
}
