// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"foundry/runtime/oci"
	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// corpus returns encoded plans that a spawner takes.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	tty := newContainer(t, "sh")
	tty.spec.Process.Terminal = true
	hooks := newContainer(t, "true")
	hooks.facts.Hooks, hooks.facts.NoPivotRoot = true, true
	helper := plan.NewHelper(plan.Helper{Path: busybox, Args: []string{"busybox", "true"}, Env: []string{"A=b"}, ExtraFiles: 2})
	ns := newUserns(t, "true")
	ns.fresh |= unix.CLONE_NEWTIME
	ns.inside = []plan.Step{{Op: plan.OpTime, S: [4]string{"boottime 1 0"}}}
	var out [][]byte
	for _, p := range []*plan.Plan{hostPlan("true"), helper, tty.plan(t), tty.exec(t, specs.Process{Terminal: true}, "sh"), hooks.plan(t), ns.plan(), ns.exec(allNamespaces, "true"), attributePlan(t)} {
		b, err := Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func nfilesOf(body []byte) uint32 {
	if len(body) < planHeaderSize {
		return 0
	}
	return binary.LittleEndian.Uint32(body[16:])
}

// mutate changes a few places of body: bytes, whole words, its length.
func mutate(r *rand.Rand, body []byte) []byte {
	b := bytes.Clone(body)
	for range 1 + r.IntN(4) {
		switch at := r.IntN(len(b)); r.IntN(6) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.Uint32())
		case 2: // a field: small, large, or what is next to a border
			at &^= 3
			if at+4 <= len(b) {
				values := []uint32{0, 1, uint32(len(b)), uint32(len(b)) - 1, ^uint32(0), 1 << 31, r.Uint32()}
				binary.LittleEndian.PutUint32(b[at:], values[r.IntN(len(values))])
			}
		case 3:
			b = b[:at+1]
		case 4: // another op
			if step := planHeaderSize + planStepSize*r.IntN(1+len(b)/planStepSize); step+2 <= len(b) {
				binary.LittleEndian.PutUint16(b[step:], uint16(r.IntN(int(plan.OpCount)+2)))
			}
		case 5: // a string of another
			if step := planHeaderSize + planStepSize*r.IntN(1+len(b)/planStepSize) + 32 + 8*r.IntN(4); step+8 <= len(b) {
				binary.LittleEndian.PutUint32(b[step:], uint32(r.IntN(len(b))))
				binary.LittleEndian.PutUint32(b[step+4:], uint32(r.IntN(64)))
			}
		}
	}
	return b
}

// checker is the spawner's check of plans as a program of its own, built with
// sanitizers.
type checker struct {
	program string
	in      bytes.Buffer
}

func newChecker(t *testing.T) *checker {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("SKIPPED: needs gcc")
	}
	c := &checker{program: filepath.Join(t.TempDir(), "check")}
	build := exec.Command(gcc, "-std=gnu11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-fsanitize=address,undefined",
		"-fno-sanitize-recover=all", "-o", c.program, "c/fuzz/check.c", "c/check.c", "c/check_values.c", "c/ops.c", "c/text.c")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	if out, err := exec.Command(c.program).CombinedOutput(); err != nil { // user-mode Linux has not the address space
		t.Skipf("SKIPPED: sanitizers do not run here: %v\n%s", err, out)
	}
	return c
}

func (c *checker) add(body []byte, nfiles uint32, clone uint64) {
	c.in.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(body))))
	c.in.Write(binary.LittleEndian.AppendUint32(nil, nfiles))
	c.in.Write(binary.LittleEndian.AppendUint64(nil, clone))
	c.in.Write(body)
}

func (c *checker) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(c.program, args...)
	cmd.Stdin = &c.in
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("check: %v\n%s", err, out)
	}
	return string(out)
}

// TestPlansPass: whatever runtime/plan makes of the specs of its goldens, the
// spawner takes.
func TestPlansPass(t *testing.T) {
	c := newChecker(t)
	files, err := filepath.Glob("../plan/testdata/*.json")
	must(t, err)
	n := 0
	for _, file := range files {
		body, err := os.ReadFile(file)
		must(t, err)
		spec, err := oci.Parse(body)
		must(t, err)
		for bits := range 8 {
			facts := plan.Facts{ID: "x", Bundle: "/bundle", Rootfs: "/bundle/rootfs", LastCap: 40, Hooks: bits&1 != 0, NoPivotRoot: bits&2 != 0}
			facts.RootfsMounts = []plan.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a:/b"}}}
			if bits&4 != 0 {
				facts.Seccomp = make([]byte, 16)
			}
			for _, terminal := range []bool{false, true} {
				spec.Process.Terminal = terminal
				p, err := plan.New(spec, facts)
				must(t, err)
				e, err := plan.NewExec(spec, spec.Process, facts)
				must(t, err)
				for _, p := range []*plan.Plan{p, e} {
					body, err := Encode(p)
					must(t, err)
					c.add(body, uint32(len(p.Files)), p.Clone)
					n++
				}
			}
		}
	}
	if got, want := c.run(t, "refused"), fmt.Sprintf("%d passed, 0 refused", n); n == 0 || !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestCheckUnderSanitizers runs the check over mutated plans, each in memory of
// just its size.
func TestCheckUnderSanitizers(t *testing.T) {
	c := newChecker(t)
	add := c.add
	r := rand.New(rand.NewPCG(1, 2))
	seeds := corpus(t)
	for _, body := range seeds {
		add(body, nfilesOf(body), 0)
		for range 4000 {
			m := mutate(r, body)
			add(m, nfilesOf(m), uint64(r.IntN(2))*unix.CLONE_NEWPID)
		}
		for n := range min(len(body), 400) { // cut at every byte
			add(body[:n], nfilesOf(body), 0)
		}
	}
	out := c.run(t)
	var passed, refused int
	if _, err := fmt.Sscanf(out, "%d passed, %d refused", &passed, &refused); err != nil || passed < len(seeds) || refused < 1000 {
		t.Errorf("%s: want at least the %d seeds to pass, and most others refused", out, len(seeds))
	}
	t.Logf("%s", out)
}

// newCage is a world whose spawner has no rights on the host: it is root of a
// user namespace of nobody, and pid 1 of a pid namespace.
func newCage(t testing.TB) *world {
	w := newWorldWith(t, 64, func(w *world) {
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}
		w.cmd.Stderr = nil // what mutated programs say
		w.cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
			UidMappings: ids, GidMappings: ids,
		}
	})
	return w
}

// provoke sends one message made of raw bytes and a plan, and takes apart what
// comes of it. The spawner must answer.
func (w *world) provoke(raw, body []byte, nfiles int) {
	w.t.Helper()
	var m msg
	copy(bytesOf(&m), raw)
	if m.Type == msgStop || m.Type == msgHello || m.Type == msgAck { // leaves, changes nothing, has no answer
		m.Type = msgSpawn
	}
	if m.Key == 0 {
		m.Key = w.keys.Add(1)
	}
	m.Slot %= 128
	f, err := sealed("plan", body, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	files := []*os.File{f, nil}
	for range min(nfiles, maxFDs-2) {
		files = append(files, nil)
	}
	p := &Process{Key: m.Key, plan: hostPlan()}
	var r reply
	err = w.client.withFDs(files, func(fds []int) error {
		r, err = w.client.ask(w.context(), &m, fds, p)
		return err
	})
	if err != nil {
		w.t.Fatalf("message %+v: %v", m, err)
	}
	for _, f := range r.files {
		if r.m.Type == msgSpawned {
			_ = unix.PidfdSendSignal(int(f.Fd()), unix.SIGKILL, nil, 0)
		}
		f.Close()
	}
	if m.Type == msgSpawn && r.m.Type == msgSpawned && r.m.Err == 0 {
		e := <-w.exits
		if err := w.client.Ack(e); err != nil {
			w.t.Fatal(err)
		}
	}
	if m.Type == msgHold {
		must(w.t, w.client.Drop(m.Key, AllTags))
	}
}

// sound makes sure that the spawner still works, and has lost nothing.
func (w *world) sound() {
	w.t.Helper()
	p := w.spawn(hostPlan("sh", "-c", "exit 12"))
	if e := w.exit(p); e.Status != 12 {
		w.t.Fatalf("after the fuzzing: %+v, want status 12", e)
	}
	p.Close()
	if list := w.list(); len(list) != 0 {
		w.t.Fatalf("after the fuzzing slots are in use: %+v", list)
	}
}

func TestRandomMessages(t *testing.T) {
	w := newCage(t)
	seeds := corpus(t)
	r := rand.New(rand.NewPCG(3, 4))
	raw := make([]byte, msgSize)
	for i := range 3000 {
		for at := range raw {
			raw[at] = byte(r.Uint32())
		}
		binary.LittleEndian.PutUint32(raw, uint32(r.IntN(msgStop+2)))
		body := mutate(r, seeds[r.IntN(len(seeds))])
		if i%2 == 0 { // a good message with a bad plan
			clear(raw)
			binary.LittleEndian.PutUint32(raw, msgSpawn)
			raw[int(argOffset)] = byte(len(body))
			raw[int(argOffset)+1] = byte(len(body) >> 8)
		}
		w.provoke(raw, body, int(nfilesOf(body)%200))
		if i%500 == 0 {
			w.sound()
		}
	}
	w.sound()
}

func FuzzSpawner(f *testing.F) {
	requireRoot(f)
	w := newCage(f)
	for _, body := range corpus(f) {
		raw := make([]byte, argOffset+8)
		binary.LittleEndian.PutUint32(raw, msgSpawn)
		binary.LittleEndian.PutUint64(raw[argOffset:], uint64(len(body)))
		f.Add(raw, body, int(nfilesOf(body)))
	}
	f.Fuzz(func(t *testing.T, raw, body []byte, nfiles int) {
		w.t = t
		w.provoke(raw, body, max(nfiles, 0))
		w.sound()
		w.t = f
	})
}

// TestBrokenMessages: of a wrong size, or whose descriptors are not those said.
func TestBrokenMessages(t *testing.T) {
	w := newWorld(t, 4)
	before := w.count()
	send := func(b []byte, fds ...int) {
		t.Helper()
		w.client.conn.mu.Lock()
		defer w.client.conn.mu.Unlock()
		must(t, w.client.conn.raw.Control(func(fd uintptr) {
			err := unix.Sendmsg(int(fd), b, unix.UnixRights(fds...), nil, 0)
			must(t, err)
		}))
	}
	null := int(w.client.null.Fd())
	good := bytesOf(&msg{Type: msgHold})
	send([]byte{})
	send([]byte{1, 2, 3})
	send(append(bytes.Clone(good), 0))
	send(good, null, null)
	send(bytesOf(&msg{Type: msgHold, Nfds: 3}), null)
	many := make([]int, 200)
	for i := range many {
		many[i] = null
	}
	send(bytesOf(&msg{Type: msgHold, Nfds: 200}), many...)
	w.sound()
	if after := w.count(); after != before {
		t.Errorf("before: %s\nafter:  %s", before, after)
	}
}
