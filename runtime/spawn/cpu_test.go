// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// schedAttr is a struct sched_attr of the first version.
func schedAttr(policy uint32, nice int32, priority uint32) string {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint32(b, 48)
	binary.LittleEndian.PutUint32(b[4:], policy)
	binary.LittleEndian.PutUint32(b[16:], uint32(nice))
	binary.LittleEndian.PutUint32(b[20:], priority)
	return string(b)
}

// deadline is one for SCHED_DEADLINE, in nanoseconds.
func deadline(runtime, period uint64) string {
	b := []byte(schedAttr(6, 0, 0))
	for i, v := range []uint64{runtime, period, period} {
		binary.LittleEndian.PutUint64(b[24+8*i:], v)
	}
	return string(b)
}

// with puts s before the change of the root and runs script.
func with(t *testing.T, s plan.Step, script string) *plan.Plan {
	t.Helper()
	p := newContainer(t, "sh", "-c", script).plan(t)
	s.FD = -1
	insert(p, plan.OpPivot, s)
	return p
}

// TestCPUSteps: what the program sees of when and where it runs.
func TestCPUSteps(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		name   string
		step   plan.Step
		script string
		want   string
	}{
		{"batch with a nice value", plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(3, 7, 0)}}, "set -- $(cat /proc/self/stat); echo ${19} ${40} ${41}", "7 0 3"},
		{"idle", plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(5, 0, 0)}}, "set -- $(cat /proc/self/stat); echo ${41}", "5"},
		{"round robin", plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(2, 0, 9)}}, "set -- $(cat /proc/self/stat); echo ${40} ${41}", "9 2"},
		{"a deadline", plan.Step{Op: plan.OpScheduler, S: [4]string{deadline(1e6, 1e7)}}, "read x </proc/self/stat; set -- $x; echo ${41}", "6"},
		{"I/O best effort 6", plan.Step{Op: plan.OpIOPriority, A: 2<<13 | 6}, "busybox ionice -p $$", "best-effort: prio 6"},
		{"I/O idle", plan.Step{Op: plan.OpIOPriority, A: 3 << 13}, "busybox ionice -p $$", "idle"},
		{"a 32 bit personality", plan.Step{Op: plan.OpPersonality, A: 8}, "cat /proc/self/personality", "00000008"},
		{"the first CPU", plan.Step{Op: plan.OpAffinity, S: [4]string{"\x01"}}, "grep Cpus_allowed_list /proc/self/status | cut -f2", "0"},
		{"more CPUs than there are", plan.Step{Op: plan.OpAffinity, S: [4]string{"\x01" + strings.Repeat("\xff", 1023)}}, "grep -c Cpus_allowed_list /proc/self/status", "1"},
		{"memory of node 0", plan.Step{Op: plan.OpMemPolicy, A: 2, B: 1, S: [4]string{"\x01"}}, "cat /proc/self/numa_maps | cut -d' ' -f2 | busybox sort -u", "bind:0"},
		{"interleaved", plan.Step{Op: plan.OpMemPolicy, A: 3 | 1<<15, B: 1024, S: [4]string{"\x01"}}, "cat /proc/self/numa_maps | cut -d' ' -f2 | busybox sort -u", "interleave=static:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.step.Op == plan.OpMemPolicy {
				requireFile(t, "/proc/self/numa_maps")
			}
			got, e := w.output(with(t, c.step, c.script), nil)
			if got != c.want || e.Status != 0 {
				t.Errorf("got %q, status %d, want %q", got, e.Status, c.want)
			}
		})
	}
}

func requireFile(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
}

// TestCPUErrors: the message says which value and why.
func TestCPUErrors(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		step  plan.Step
		want  string
		errno error
	}{
		{plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(1, 0, 1000)}},
			"set scheduler SCHED_FIFO, nice 0, priority 1000 (unknown to this kernel, or a value out of range): invalid argument", unix.EINVAL},
		{plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(77, 0, 0)}},
			"set scheduler unknown, nice 0, priority 0 (unknown to this kernel, or a value out of range): invalid argument", unix.EINVAL},
		{plan.Step{Op: plan.OpScheduler, S: [4]string{deadline(2e6, 1e6)}},
			"set scheduler SCHED_DEADLINE, nice 0, priority 0 (unknown to this kernel, or a value out of range): invalid argument", unix.EINVAL},
		{plan.Step{Op: plan.OpIOPriority, A: 7 << 13}, "set I/O priority, class 7, level 0: invalid argument", unix.EINVAL},
		{plan.Step{Op: plan.OpAffinity, S: [4]string{strings.Repeat("\x00", 1023) + "\x80"}},
			"set CPU affinity (none of these CPUs is in the cpuset of the container): invalid argument", unix.EINVAL},
		{plan.Step{Op: plan.OpMemPolicy, A: 99, B: 1, S: [4]string{"\x01"}},
			"set memory policy 99 (unknown to this kernel, or none of these nodes is in the cpuset of the container): invalid argument", unix.EINVAL},
	} {
		if _, err := os.Stat("/proc/self/numa_maps"); err != nil && c.step.Op == plan.OpMemPolicy {
			c.want, c.errno = "set memory policy 99: function not implemented", unix.ENOSYS
		}
		p := w.spawn(with(t, c.step, "true"))
		_, err := p.Sync(w.context())
		if err == nil || err.Error() != c.want || !errors.Is(err, c.errno) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		w.exit(p)
	}
}

// TestSchedulerNeedsCapability: as a user, without CAP_SYS_NICE.
func TestSchedulerNeedsCapability(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "true")
	ct.spec.Process.User.UID = 1000
	p := ct.plan(t)
	insert(p, plan.OpLookup, plan.Step{Op: plan.OpScheduler, FD: -1, S: [4]string{schedAttr(1, 0, 5)}})
	for i := range p.Steps { // after the capabilities are gone
		if p.Steps[i].Op == plan.OpScheduler {
			s := p.Steps[i]
			p.Steps = append(append(p.Steps[:i:i], p.Steps[i+1:len(p.Steps)-1]...), s, p.Steps[len(p.Steps)-1])
			break
		}
	}
	proc := w.spawn(p)
	w.reach(proc, PointReady)
	must(t, proc.Go())
	_, err := proc.Sync(w.context())
	const want = "set scheduler SCHED_FIFO, nice 0, priority 5 (needs CAP_SYS_NICE; a deadline, all CPUs of its cpuset): operation not permitted"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	w.exit(proc)
}

// TestLabels: what reaches the kernel is what an open of the same file says.
func TestLabels(t *testing.T) {
	w := newWorld(t, 16)
	runtime.LockOSThread() // a thread may write its own label alone
	defer runtime.UnlockOSThread()
	for _, file := range []string{"attr/exec", "attr/apparmor/exec", "attr/keycreate", "attr/fscreate", "attr/sockcreate"} {
		p := w.spawn(with(t, plan.Step{Op: plan.OpLabel, S: [4]string{file, "no such label"}}, "true"))
		_, err := p.Sync(w.context())
		direct := os.WriteFile("/proc/thread-self/"+file, []byte("no such label"), 0)
		var errno unix.Errno
		if direct == nil && err == nil { // a kernel may take any, and make nothing of it
			must(t, p.Signal(unix.SIGKILL))
			w.exit(p)
			continue
		}
		want := `write "no such label" to /proc/self/` + file
		if !errors.As(direct, &errno) || err == nil || !errors.Is(err, errno) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s... %v", file, err, want, direct)
		}
		w.exit(p)
	}
	optional := with(t, plan.Step{Op: plan.OpLabel, Flags: plan.FlagOptional, S: [4]string{"attr/exec", "no such label"}}, "echo ran")
	if got, e := w.output(optional, nil); got != "ran" || e.Status != 0 {
		t.Errorf("optional label: got %q, %+v", got, e)
	}
}

// TestRefusedValues: operands of the same steps that never reach the kernel.
func TestRefusedValues(t *testing.T) {
	w := newWorld(t, 4)
	for _, c := range []struct {
		step plan.Step
		want string
	}{
		{plan.Step{Op: plan.OpScheduler}, "not a struct sched_attr"},
		{plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(0, 0, 0)[:47]}}, "not a struct sched_attr"},
		{plan.Step{Op: plan.OpScheduler, S: [4]string{schedAttr(0, 0, 0) + "\x00"}}, "not a struct sched_attr"},
		{plan.Step{Op: plan.OpIOPriority, A: 1 << 16}, "priority out of range"},
		{plan.Step{Op: plan.OpPersonality, A: 0xffffffff}, "personality out of range"},
		{plan.Step{Op: plan.OpAffinity}, "not a CPU mask"},
		{plan.Step{Op: plan.OpAffinity, S: [4]string{strings.Repeat("\x01", 1025)}}, "not a CPU mask"},
		{plan.Step{Op: plan.OpMemPolicy, B: 1025}, "policy or node mask out of range"},
		{plan.Step{Op: plan.OpMemPolicy, S: [4]string{strings.Repeat("\x01", 129)}}, "policy or node mask out of range"},
		{plan.Step{Op: plan.OpLabel, S: [4]string{"attr/current", "x"}}, "not a file for labels"},
		{plan.Step{Op: plan.OpLabel, S: [4]string{"../1/attr/exec", "x"}}, "not a file for labels"},
		{plan.Step{Op: plan.OpLabel, S: [4]string{"mem", "x"}}, "not a file for labels"},
		{plan.Step{Op: plan.OpLabel, S: [4]string{"attr/exec", ""}}, "empty string"},
		{plan.Step{Op: plan.OpRemount, S: [4]string{2: "/x"}}, "would act on the host: a namespace or root step must come first"},
	} {
		c.step.FD = -1
		_, err := w.try(&plan.Plan{Steps: []plan.Step{c.step, execHost(busybox, "true")}})
		if err == nil || !strings.HasSuffix(err.Error(), "): "+c.want+": invalid argument") {
			t.Errorf("%s: got %v, want %s", c.step.Op, err, c.want)
		}
	}
}

// attributePlan has each step of what a process and its mounts may have besides.
func attributePlan(t testing.TB) *plan.Plan {
	t.Helper()
	p := newContainer(t, "true").plan(t)
	for _, s := range []plan.Step{
		{Op: plan.OpScheduler, S: [4]string{schedAttr(3, 1, 0)}},
		{Op: plan.OpIOPriority, A: 2<<13 | 4},
		{Op: plan.OpPersonality, A: 8},
		{Op: plan.OpAffinity, S: [4]string{"\x03"}},
		{Op: plan.OpMemPolicy, Flags: plan.FlagOptional, A: 1, B: 8, S: [4]string{"\x01"}},
		{Op: plan.OpLabel, Flags: plan.FlagOptional, S: [4]string{"attr/exec", "label"}},
		{Op: plan.OpMount, Flags: plan.FlagCopyUp, A: attrReadonly, S: [4]string{"tmpfs", "tmpfs", "/etc"}},
		{Op: plan.OpMount, Flags: plan.FlagLoop | plan.FlagOptional, S: [4]string{"ext4", "/image", "/mnt", "ro"}},
		{Op: plan.OpRemount, Flags: plan.FlagAttrRec, A: attrNosuid, B: attrReadonly, S: [4]string{2: "/etc", 3: "size=1m"}},
	} {
		s.FD = -1
		insert(p, plan.OpPivot, s)
	}
	return p
}

// TestAttributePlan: all of them in one plan.
func TestAttributePlan(t *testing.T) {
	w := newWorld(t, 4)
	if got, e := w.output(attributePlan(t), nil); got != "" || e.Status != 0 {
		t.Errorf("got %q, %+v", got, e)
	}
}
