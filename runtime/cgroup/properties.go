// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// systemd keeps its own idea of every limit and writes it to the group's files
// whenever another property of the same controller changes, and for all of them
// on a daemon-reload. So it must be told of ours. What it has no property for
// (burst, huge pages, rdma, limits of devices) it does not write either.

// Releases of systemd that something came with.
const (
	hasQuotaPeriod = 242
	hasCpusets     = 244
	hasIdle        = 252 // CPUWeight=idle, which is 0 on the bus
	hasOOMPolicy   = 253 // of scopes
	hasZswap       = 253
)

const defaultPeriod = 100000 // us, the kernel's

// numbers are the properties that are one figure, by file.
var numbers = map[string]string{
	"cpu.weight": "CPUWeight", "cpu.shares": "CPUShares", "pids.max": "TasksMax",
	"memory.max": "MemoryMax", "memory.high": "MemoryHigh", "memory.low": "MemoryLow", "memory.min": "MemoryMin",
	"memory.swap.max": "MemorySwapMax", "memory.zswap.max": "MemoryZSwapMax", "memory.limit_in_bytes": "MemoryLimit",
	"io.weight": "IOWeight", "blkio.weight": "BlockIOWeight",
}

// masks are the properties that are sets of processors or nodes.
var masks = map[string]string{"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}

// properties says a list of settings in systemd's words. It is pure. Where two
// settings are one property, the later one wins, as it does in the files, but
// for idle, beside which a weight means nothing.
func properties(list []setting, release int) ([]systemd.Property, error) {
	all := map[string]any{}
	idle := false
	for _, s := range list {
		if err := property(s, release, all); err != nil {
			return nil, fmt.Errorf("tell systemd of %s: %w", s, err)
		}
		if s.file == "cpu.idle" {
			idle = s.value == "1" && release >= hasIdle
		}
	}
	if idle {
		all["CPUWeight"] = uint64(0)
	}
	quota(list, release, all)
	props := make([]systemd.Property, 0, len(all))
	for _, name := range sortedKeys(all) {
		props = append(props, prop(name, all[name]))
	}
	return props, nil
}

func property(s setting, release int, into map[string]any) error {
	file, value := s.file, strings.TrimSpace(s.value)
	if s.file == "io.bfq.weight" && s.alt[0] != "" {
		file, value = s.alt[0], s.alt[1] // systemd converts it back
	}
	value, _ = strings.CutPrefix(value, "default ")
	if name := masks[file]; name != "" && release >= hasCpusets {
		bits, err := maskOf(value)
		if err != nil {
			return err
		}
		into[name] = bits
		return nil
	}
	name := numbers[file]
	switch {
	case name == "" || file == "memory.zswap.max" && release < hasZswap:
		return nil
	case strings.HasPrefix(file, "io.") && strings.Contains(value, " "):
		return nil // the weight of one device
	case value == "max" || value == "-1":
		into[name] = uint64(math.MaxUint64)
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return err
	}
	into[name] = n
	return nil
}

// quota says what cpu.max, or the two files of v1, say.
func quota(list []setting, release int, into map[string]any) {
	var quota, period string
	for _, s := range list {
		switch s.file {
		case "cpu.max":
			q, p, _ := strings.Cut(strings.TrimSpace(s.value), " ")
			quota, period = q, p
		case "cpu.cfs_quota_us":
			quota = s.value
		case "cpu.cfs_period_us":
			period = s.value
		}
	}
	p, _ := strconv.ParseUint(period, 10, 64)
	if p != 0 && release >= hasQuotaPeriod {
		into["CPUQuotaPeriodUSec"] = p
	}
	if quota == "" {
		return
	}
	if p == 0 {
		p = defaultPeriod
	}
	share := uint64(math.MaxUint64)
	if q, err := strconv.ParseUint(quota, 10, 64); err == nil {
		share = perSecond(q, p)
	}
	into["CPUQuotaPerSecUSec"] = share
}

// perSecond is a quota for each second. systemd stores it in whole percents: it
// is rounded up, for rounded down it would forbid what groups below may ask for.
func perSecond(quota, period uint64) uint64 {
	const percent = 10000
	return (quota*1000000/period + percent - 1) / percent * percent
}

// maskOf turns "0-2,7" into bits, the lowest first.
func maskOf(text string) ([]byte, error) {
	var bits []byte
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 13) // the kernel knows 8192 at most
		to, err2 := strconv.ParseUint(last, 10, 13)
		if err1 != nil || err2 != nil || from > to {
			return nil, fmt.Errorf("%q is no list like 0-2,7", text)
		}
		for n := from; n <= to; n++ {
			if missing := int(n/8) + 1 - len(bits); missing > 0 {
				bits = append(bits, make([]byte, missing)...)
			}
			bits[n/8] |= 1 << (n % 8)
		}
	}
	if bits == nil {
		return nil, fmt.Errorf("%q names nobody", text)
	}
	return bits, nil
}

// scopeProperties are those that a scope starts with.
func scopeProperties(u unit, pid int, list []setting, release int) ([]systemd.Property, error) {
	props := []systemd.Property{
		systemd.PropDescription("Foundry container " + strings.TrimSuffix(u.name, ".scope")),
		systemd.PropSlice(u.slice),
		prop("Delegate", true),
		prop("PIDs", []uint32{uint32(pid)}),
		prop("DefaultDependencies", false), // nothing orders a container against the host's shutdown but its manager
		prop("CollectMode", "inactive-or-failed"),
		prop("MemoryAccounting", true),
		prop("CPUAccounting", true),
		prop("IOAccounting", true),
		prop("TasksAccounting", true),
	}
	if n := slices.IndexFunc(list, func(s setting) bool { return s.file == "memory.oom.group" }); n >= 0 && release >= hasOOMPolicy {
		props = append(props, prop("OOMPolicy", map[bool]string{true: "kill", false: "continue"}[strings.TrimSpace(list[n].value) == "1"]))
	}
	limits, err := properties(list, release)
	return append(props, limits...), err
}

// deviceProperties keep systemd from opening a v1 group's devices again. On v2
// the filter is a program of ours, which systemd leaves alone.
func deviceProperties(rules ruleset) []systemd.Property {
	type entry struct{ Node, Access string }
	list, policy := []entry{}, "strict"
	for _, d := range rules.sorted() {
		dir := map[byte]string{'c': "char", 'b': "block"}[d.kind]
		node := "/dev/" + dir + "/" + wild(d.major) + ":" + wild(d.minor)
		switch {
		case d.minor == anyNumber:
			node = dir + "-" + wild(d.major)
		case d.major == anyNumber:
			policy = "auto" // it cannot say that
		}
		_, access, _ := strings.Cut(line(d, rules.except[d]), " ")
		_, access, _ = strings.Cut(access, " ")
		list = append(list, entry{node, access})
	}
	if rules.allow || policy == "auto" {
		list, policy = []entry{}, "auto"
	}
	return []systemd.Property{prop("DevicePolicy", policy), {Name: "DeviceAllow", Value: dbus.MakeVariant(list)}}
}

func prop(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}
