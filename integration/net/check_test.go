// SPDX-License-Identifier: Apache-2.0

package net

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"foundry/bpf"
	"foundry/datapath/veth"
)

// noise is what a kernel says unasked when a device comes up: whether its own
// link-local address is free, and which groups it listens to; when it is the
// first of its network, to nobody.
var noise = []string{"own_probe", "bum_off", "bum_empty"}

// counts are a host's frames by what was done, why, and by whom they came.
type count struct {
	endpoint       string // the name of the host's end; empty: the uplink
	action, reason string
}

// counted reads how many frames were received from endpoints and the uplink.
func (h *host) counted() map[count]uint64 {
	h.f.Helper()
	if h.control != nil {
		return h.control.counters()
	}
	names := map[uint32]string{}
	for _, c := range h.containers {
		names[uint32(c.ifindex)] = c.name
	}
	counters, err := h.dp.Counters()
	if err != nil {
		h.f.Fatal(err)
	}
	got := map[count]uint64{}
	for key, c := range counters {
		if key.Direction == bpf.TCDirectionDIR_FROM {
			got[count{names[key.Endpoint], h.f.names.Actions[key.Action], h.f.names.Reasons[key.Reason]}] += c.Packets
		}
	}
	return got
}

// dropped sums up a host's drops by reason, without the noise.
func (h *host) dropped() map[string]uint64 {
	h.f.Helper()
	got := map[string]uint64{}
	for c, n := range h.counted() {
		if c.action == "drop" && !slices.Contains(noise, c.reason) {
			got[c.reason] += n
		}
	}
	return got
}

// drops wants frames to have been dropped for these reasons, and no others, on
// all hosts together.
func (f *fabric) drops(want ...string) {
	f.Helper()
	got := f.dropped()
	slices.Sort(want)
	if reasons := slices.Sorted(maps.Keys(got)); !slices.Equal(reasons, want) {
		f.Errorf("frames dropped: got %v, want reasons %q", got, want)
	}
}

// dropsAtMost wants frames to have been dropped for these reasons only.
func (f *fabric) dropsAtMost(allowed ...string) {
	f.Helper()
	got := f.dropped()
	maps.DeleteFunc(got, func(reason string, _ uint64) bool { return slices.Contains(allowed, reason) })
	if len(got) > 0 {
		f.Errorf("frames dropped: got %v, want no other reasons than %q", got, allowed)
	}
}

func (f *fabric) dropped() map[string]uint64 {
	f.Helper()
	got := map[string]uint64{}
	for _, h := range f.hosts {
		for reason, n := range h.dropped() {
			got[reason] += n
		}
	}
	return got
}

// settled wants no control plane to find anything to repair.
func (f *fabric) settled() {
	f.Helper()
	for _, h := range f.hosts {
		if h.control != nil {
			h.control.settled()
		}
	}
}

// intact wants no receiver to have seen a wrong checksum.
func (f *fabric) intact() {
	f.Helper()
	for _, h := range f.hosts {
		for name, ns := range h.namespaces() {
			for counter, n := range snmp(f, ns) {
				if strings.HasSuffix(counter, "InCsumErrors") && n != 0 {
					f.Errorf("%s: %s: got %d, want 0", name, counter, n)
				}
			}
		}
	}
}

func (h *host) namespaces() map[string]*veth.NS {
	all := map[string]*veth.NS{h.name: h.ns}
	for _, c := range h.containers {
		all[c.String()] = c.ns
	}
	return all
}

// snmp reads the counters of a namespace: "Tcp.RetransSegs" and the like, and
// those of IPv6 without the dot, as the kernel has them.
func snmp(f *fabric, ns *veth.NS) map[string]uint64 {
	f.Helper()
	counters := map[string]uint64{}
	for _, file := range []string{"snmp", "netstat", "snmp6"} {
		text, err := in(ns, func() ([]byte, error) { return os.ReadFile("/proc/thread-self/net/" + file) })
		if err != nil {
			f.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if file == "snmp6" {
			for _, line := range lines {
				words := strings.Fields(line)
				counters[words[0]], _ = strconv.ParseUint(words[1], 10, 64)
			}
			continue
		}
		for ; len(lines) > 1; lines = lines[2:] {
			names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
			for i := 1; i < len(names); i++ {
				counters[strings.TrimSuffix(names[0], ":")+"."+names[i]], _ = strconv.ParseUint(values[i], 10, 64)
			}
		}
	}
	return counters
}

// eventually waits for something that happens on its own.
func (f *fabric) eventually(what string, is func() bool) {
	f.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			f.Errorf("%s: still not so after %v", what, patience)
			return
		}
		time.Sleep(time.Millisecond)
	}
}
