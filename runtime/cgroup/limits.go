// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ErrNeedsV2 means that resources name cgroup v2 files on a v1 host.
var ErrNeedsV2 = errors.New("linux.resources.unified needs a host with cgroup v2 alone")

// setting is one value for one file of a group.
type setting struct {
	controller  string
	file, value string
	alt         [2]string // file and value to use when file does not exist
	key, reset  string    // file of many lines: which line is meant, and the value that removes it
	optional    bool      // a kernel without the file has nothing to limit
}

func (s setting) String() string { return s.file + " = " + s.value }

// LimitError is a value that cannot be right on any host.
type LimitError struct{ Field, Reason string }

func (e *LimitError) Error() string { return "linux.resources." + e.Field + ": " + e.Reason }

// settings translates resources into what is written, in an order that a
// fresh group accepts. It is pure. Device rules are not among them.
func settings(unified bool, r *specs.LinuxResources) ([]setting, error) {
	if r == nil {
		return nil, nil
	}
	if err := validate(r); err != nil {
		return nil, err
	}
	if unified {
		return settings2(r)
	}
	if err := validate1(r); err != nil {
		return nil, err
	}
	return slices.Concat(cpu1(r.CPU), memory1(r.Memory), pids(r.Pids), blkio1(r.BlockIO),
		hugetlb(r.HugepageLimits, ".limit_in_bytes"), rdma(r.Rdma), network1(r.Network)), nil
}

// validate refuses what the kernel would accept in part or read as something else.
func validate(r *specs.LinuxResources) error {
	if b := r.BlockIO; b != nil && b.Weight != nil && *b.Weight != 0 && (*b.Weight < 10 || *b.Weight > 1000) {
		return &LimitError{"blockIO.weight", fmt.Sprintf("%d is not between 10 and 1000", *b.Weight)}
	}
	for _, h := range r.HugepageLimits {
		if h.Pagesize == "" || strings.ContainsAny(h.Pagesize, "/.") {
			return &LimitError{"hugepageLimits", fmt.Sprintf("page size %q is not like 2MB", h.Pagesize)}
		}
	}
	for name := range r.Rdma {
		if name == "" || strings.ContainsAny(name, " \n") {
			return &LimitError{"rdma", fmt.Sprintf("device name %q", name)}
		}
	}
	for k := range r.Unified {
		if err := checkUnified(k); err != nil {
			return err
		}
	}
	return nil
}

// leastMemory is four pages. With less, cgroup v2 neither lets the first process
// take a step nor kills it, and it would be waited for in vain.
const leastMemory = 4 * 4096

// checkLeast refuses a new group in which nobody can live.
func checkLeast(r *specs.LinuxResources) error {
	if r == nil || r.Memory == nil {
		return nil
	}
	if limit := value(r.Memory.Limit); limit > 0 && limit < leastMemory {
		return &LimitError{"memory.limit", fmt.Sprintf("%d bytes are too few for a process to start in; %d is the least that is tried", limit, leastMemory)}
	}
	return nil
}

// validate1 refuses what has no meaning on v1. (On v2 shares are converted, and
// swappiness does not exist.)
func validate1(r *specs.LinuxResources) error {
	if len(r.Unified) > 0 {
		return ErrNeedsV2
	}
	if c := r.CPU; c != nil && c.Shares != nil && (*c.Shares == 1 || *c.Shares > 262144) {
		return &LimitError{"cpu.shares", fmt.Sprintf("%d is not between 2 and 262144", *c.Shares)}
	}
	if m := r.Memory; m != nil && m.Swappiness != nil && *m.Swappiness > 100 && *m.Swappiness != math.MaxUint64 {
		return &LimitError{"memory.swappiness", fmt.Sprintf("%d is not between 0 and 100", *m.Swappiness)}
	}
	return nil
}

// checkUnified lets only limits pass: the other files of a group decide who
// is in it, and the runtime would be contradicted behind its back.
func checkUnified(key string) error {
	controller, _, ok := strings.Cut(key, ".")
	switch {
	case strings.Contains(key, "/") || !ok || controller == "":
		return &LimitError{"unified", fmt.Sprintf("%q is not a file name like controller.parameter", key)}
	case slices.Contains([]string{"cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.type", "cgroup.subtree_control"}, key):
		return &LimitError{"unified", fmt.Sprintf("%s is not a limit", key)}
	}
	return nil
}

// number is a value that the spec leaves out or sets to 0 to mean "unchanged".
func number[T int64 | uint64 | uint16 | uint32](p *T) string {
	if p == nil || *p == 0 {
		return ""
	}
	return fmt.Sprint(*p)
}

// list collects settings whose value is not empty.
type list struct {
	controller string
	s          []setting
}

func (l *list) add(file, value string) *setting {
	if value == "" {
		return &setting{}
	}
	l.s = append(l.s, setting{controller: l.controller, file: file, value: value})
	return &l.s[len(l.s)-1]
}

func cpu1(c *specs.LinuxCPU) []setting {
	if c == nil {
		return nil
	}
	l := list{controller: "cpu"}
	l.add("cpu.rt_period_us", number(c.RealtimePeriod))
	l.add("cpu.rt_runtime_us", number(c.RealtimeRuntime))
	l.add("cpu.shares", number(c.Shares))
	l.add("cpu.cfs_period_us", number(c.Period))
	l.add("cpu.cfs_quota_us", number(c.Quota))
	if c.Burst != nil {
		l.add("cpu.cfs_burst_us", fmt.Sprint(*c.Burst)).optional = true
	}
	if c.Idle != nil {
		l.add("cpu.idle", fmt.Sprint(*c.Idle))
	}
	l.controller = "cpuset"
	l.add("cpuset.cpus", c.Cpus)
	l.add("cpuset.mems", c.Mems)
	return l.s
}

func memory1(m *specs.LinuxMemory) []setting {
	if m == nil {
		return nil
	}
	l := list{controller: "memory"}
	l.add("memory.limit_in_bytes", number(m.Limit))
	l.add("memory.memsw.limit_in_bytes", number(m.Swap))
	if m.Limit != nil && *m.Limit == -1 && number(m.Swap) == "" {
		// Without a limit on memory a limit on memory and swap makes no
		// sense: whoever lifts one lifts both.
		l.add("memory.memsw.limit_in_bytes", "-1").optional = true
	}
	l.add("memory.soft_limit_in_bytes", number(m.Reservation))
	l.add("memory.kmem.tcp.limit_in_bytes", number(m.KernelTCP))
	if m.UseHierarchy != nil {
		l.add("memory.use_hierarchy", map[bool]string{true: "1", false: "0"}[*m.UseHierarchy])
	}
	if m.DisableOOMKiller != nil {
		l.add("memory.oom_control", map[bool]string{true: "1", false: "0"}[*m.DisableOOMKiller])
	}
	if m.Swappiness != nil && *m.Swappiness <= 100 {
		l.add("memory.swappiness", fmt.Sprint(*m.Swappiness))
	}
	return l.s
}

// pids is the same on v1 and v2. A limit of 0 becomes 1, as systemd does it.
func pids(p *specs.LinuxPids) []setting {
	if p == nil || p.Limit == nil {
		return nil
	}
	l := list{controller: "pids"}
	switch {
	case *p.Limit < 0:
		l.add("pids.max", "max")
	default:
		l.add("pids.max", fmt.Sprint(max(*p.Limit, 1)))
	}
	return l.s
}

func blkio1(b *specs.LinuxBlockIO) []setting {
	if b == nil {
		return nil
	}
	l := list{controller: "blkio"}
	if w := number(b.Weight); w != "" {
		l.add("blkio.weight", w).alt = [2]string{"blkio.bfq.weight", w}
	}
	l.add("blkio.leaf_weight", number(b.LeafWeight))
	for _, d := range b.WeightDevice {
		key := devNumber(d.LinuxBlockIODevice)
		if w := number(d.Weight); w != "" {
			s := l.add("blkio.weight_device", key+" "+w)
			s.alt, s.key, s.reset = [2]string{"blkio.bfq.weight_device", s.value}, key, key+" default"
		}
		if w := number(d.LeafWeight); w != "" {
			s := l.add("blkio.leaf_weight_device", key+" "+w)
			s.key, s.reset = key, key+" default"
		}
	}
	for _, t := range throttles(b) {
		for _, d := range t.list {
			key := devNumber(d.LinuxBlockIODevice)
			s := l.add(t.v1, fmt.Sprintf("%s %d", key, d.Rate))
			s.key, s.reset = key, key+" 0"
		}
	}
	return l.s
}

type throttle struct {
	v1, v2 string
	list   []specs.LinuxThrottleDevice
}

func throttles(b *specs.LinuxBlockIO) []throttle {
	return []throttle{
		{"blkio.throttle.read_bps_device", "rbps", b.ThrottleReadBpsDevice},
		{"blkio.throttle.write_bps_device", "wbps", b.ThrottleWriteBpsDevice},
		{"blkio.throttle.read_iops_device", "riops", b.ThrottleReadIOPSDevice},
		{"blkio.throttle.write_iops_device", "wiops", b.ThrottleWriteIOPSDevice},
	}
}

func devNumber(d specs.LinuxBlockIODevice) string {
	return strconv.FormatInt(d.Major, 10) + ":" + strconv.FormatInt(d.Minor, 10)
}

// hugetlb limits what is faulted and, on kernels that have it, what is reserved.
func hugetlb(limits []specs.LinuxHugepageLimit, suffix string) []setting {
	l := list{controller: "hugetlb"}
	for _, h := range limits {
		value := strconv.FormatUint(h.Limit, 10)
		l.add("hugetlb."+h.Pagesize+suffix, value)
		l.add("hugetlb."+h.Pagesize+".rsvd"+suffix, value).optional = true
	}
	return l.s
}

func rdma(devices map[string]specs.LinuxRdma) []setting {
	l := list{controller: "rdma"}
	for _, name := range sortedKeys(devices) {
		value := name
		if n := devices[name].HcaHandles; n != nil {
			value += fmt.Sprintf(" hca_handle=%d", *n)
		}
		if n := devices[name].HcaObjects; n != nil {
			value += fmt.Sprintf(" hca_object=%d", *n)
		}
		s := l.add("rdma.max", value)
		s.key, s.reset = name, name+" hca_handle=max hca_object=max"
	}
	return l.s
}

func network1(n *specs.LinuxNetwork) []setting {
	if n == nil {
		return nil
	}
	l := list{controller: "net_cls"}
	l.add("net_cls.classid", number(n.ClassID))
	l.controller = "net_prio"
	for _, p := range n.Priorities {
		s := l.add("net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority))
		s.key, s.reset = p.Name, p.Name+" 0"
	}
	return l.s
}
