// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"math"
	"strings"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// sayProperties is one "Name=value" a word.
func sayProperties(props []systemd.Property) string {
	var words []string
	for _, p := range props {
		text := fmt.Sprint(p.Value.Value())
		if text == fmt.Sprint(uint64(math.MaxUint64)) {
			text = "infinity"
		}
		words = append(words, p.Name+"="+strings.ReplaceAll(text, " ", ","))
	}
	return strings.Join(words, " ")
}

func TestProperties(t *testing.T) {
	for _, c := range []struct {
		name    string
		r       specs.LinuxResources
		release int
		v1, v2  string
	}{
		{name: "nothing", release: 252},
		{"memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20)), Swap: ptr(int64(3 << 20)), Reservation: ptr(int64(1 << 19))}}, 252,
			"MemoryLimit=1048576", "MemoryLow=524288 MemoryMax=1048576 MemorySwapMax=2097152"},
		{"memory unlimited", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(-1))}}, 252,
			"MemoryLimit=infinity", "MemoryMax=infinity MemorySwapMax=infinity"},
		{"shares", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2048))}}, 252, "CPUShares=2048", "CPUWeight=174"},
		{"idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1)), Shares: ptr(uint64(2048))}}, 252, "CPUShares=2048 CPUWeight=0", "CPUWeight=0"},
		{"idle before it could", specs.LinuxResources{CPU: &specs.LinuxCPU{Idle: ptr(int64(1)), Shares: ptr(uint64(2048))}}, 249, "CPUShares=2048", "CPUWeight=174"},
		{"quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(50000)), Period: ptr(uint64(200000))}}, 252,
			"CPUQuotaPerSecUSec=250000 CPUQuotaPeriodUSec=200000", "CPUQuotaPerSecUSec=250000 CPUQuotaPeriodUSec=200000"},
		{"quota of no whole percent", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(12345))}}, 252,
			"CPUQuotaPerSecUSec=130000", "CPUQuotaPerSecUSec=130000"},
		{"no quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}, 252, "CPUQuotaPerSecUSec=infinity", "CPUQuotaPerSecUSec=infinity"},
		{"sets", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-2,9", Mems: "0"}}, 252,
			"AllowedCPUs=[7,2] AllowedMemoryNodes=[1]", "AllowedCPUs=[7,2] AllowedMemoryNodes=[1]"},
		{"sets before it could", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-2,9", Mems: "0"}}, 243, "", ""},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}}, 252, "TasksMax=7", "TasksMax=7"},
		{"pids unlimited", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}, 252, "TasksMax=infinity", "TasksMax=infinity"},
		{"weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(500))}}, 252, "BlockIOWeight=500", "IOWeight=4950"},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "max", "memory.min": "4096", "pids.max": "9", "cpu.weight": "50",
			"cpu.max": "max 50000", "io.weight": "default 200", "hugetlb.2MB.max": "0"}}, 252, "-",
			"CPUQuotaPerSecUSec=infinity CPUQuotaPeriodUSec=50000 CPUWeight=50 IOWeight=200 MemoryHigh=infinity MemoryMin=4096 TasksMax=9"},
		{"unified wins", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(7))}, Unified: map[string]string{"pids.max": "9"}}, 252, "-", "TasksMax=9"},
	} {
		for unified, want := range map[bool]string{false: c.v1, true: c.v2} {
			if want == "-" {
				continue
			}
			list, err := settings(unified, &c.r)
			if err != nil {
				t.Fatal(err)
			}
			props, err := properties(list, c.release)
			if got := sayProperties(props); got != want || err != nil {
				t.Errorf("%s (v2: %v): %s, %v; want %s", c.name, unified, got, err, want)
			}
		}
	}
	for _, list := range []string{"", "x", "3-1", "1-", "99999999"} {
		if bits, err := maskOf(list); err == nil {
			t.Errorf("maskOf(%q) = %v", list, bits)
		}
	}
}

func TestDeviceProperties(t *testing.T) {
	all := rule("a", anyNumber, anyNumber, "rwm")
	for _, c := range []struct {
		name  string
		rules []specs.LinuxDeviceCgroup
		want  string
	}{
		{"privileged", []specs.LinuxDeviceCgroup{all}, "DevicePolicy=auto DeviceAllow=[]"},
		{"what systemd cannot say", []specs.LinuxDeviceCgroup{rule("c", anyNumber, 7, "rw")}, "DevicePolicy=auto DeviceAllow=[]"},
		{"one more", []specs.LinuxDeviceCgroup{rule("b", 8, 0, "r")}, "DevicePolicy=strict DeviceAllow=[{block-*,m},{/dev/block/8:0,r},{char-*,m}," +
			"{/dev/char/1:3,rwm},{/dev/char/1:5,rwm},{/dev/char/1:7,rwm},{/dev/char/1:8,rwm},{/dev/char/1:9,rwm},{/dev/char/5:0,rwm},{/dev/char/5:2,rwm}," +
			"{/dev/char/10:200,rwm},{char-136,rwm}]"},
	} {
		rules, err := rulesOf(c.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := sayProperties(deviceProperties(rules)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRoundQuota(t *testing.T) {
	for _, c := range [][3]string{
		{"12345 100000", "", "13000 100000"},
		{"20000", "max 50000", "20000 50000"},
		{"12345", "", "13000 100000"},
		{"keep 50000", "10000 100000", "10000 50000"},
		{"max", "max 100000", "max 100000"},
		{"max 5000", "", "max 5000"},
		{"keep 5000", "", "max 5000"},
		{"nonsense 5000", "", "nonsense 5000"}, // for the kernel to refuse
	} {
		if got := roundQuota(c[0], c[1]); got != c[2] {
			t.Errorf("roundQuota(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
