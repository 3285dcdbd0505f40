// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// demands are the frames that the data plane has to be tried with, and where
// that is done: a vector of a table in testdata, or a test. Those of tables go
// through both programs of a hook, and those of the uplink through the
// kernel's VXLAN device as well.
var demands = []struct{ what, where string }{
	{"runt: shorter than Ethernet, than IPv4, than UDP", "decap: inner frame cut; parse: ipv4 cut; parse: udp cut; arp: cut; TestTruncated"},
	{"IPv4 options", "parse: ipv4 options; parse: ipv4 options cut; decap: outer options; pmtu: IPv4 options"},
	{"fragments: first, middle, last", "parse: ipv4 first fragment; parse: ipv4 middle fragment; parse: ipv4 last fragment; parse: ipv6 later fragment"},
	{"VLAN, QinQ", "parse: vlan; parse: qinq; decap: inner VLAN"},
	{"IPv6 extension headers", "parse: ipv6 one extension; parse: ipv6 six extensions; parse: ipv6 seven extensions; parse: ipv6 authenticated"},
	{"frames of several buffers", "parse: bytes past the linear part of a page"},

	{"FDB: local, remote, gateway, blackhole", "forward: local; TestEncap; forward: gateway; forward: blackhole"},
	{"FDB: miss", "forward: unknown"},
	{"FDB: one MAC in two VNIs", "forward: local, the same MAC in another VNI; decap: other VNI"},
	{"FDB: another VNI never matches", "forward: in another VNI only; decap: nobody of that VNI here"},
	{"broadcast and multicast", "forward: broadcast; forward: multicast; TestFlood; TestFloodRate; TestFloodNobody; TestFloodFamilies"},
	{"the sender itself as destination", "forward: itself"},

	{"spoofed MAC, IPv4, IPv6", "spoof: source MAC; spoof: source IPv4 of another; spoof: source IPv6 of another; spoof: source IPv6 link-local of another"},
	{"spoofed ARP", "arp: sender's MAC of another; arp: sender's address of another; arp: Ethernet source of another; arp: gratuitous for another's address"},
	{"spoofed ND", "nd: address option of another; nd: second address option of another; nd: advertisement for another; nd: advertisement with another's MAC; TestHiddenAdvertisement"},
	{"DHCP server, router advertisement", "spoof: DHCP server; spoof: DHCPv6 server; spoof: router advertisement; spoof: router advertisement behind extensions; spoof: router advertisement in a fragment"},

	{"ARP request: known, unknown, own, gateway", "arp: request; arp: request for who is remote; arp: request for nobody; arp: probe for its own address; arp: request for the gateway"},
	{"gratuitous ARP, probe, refresh by unicast", "arp: gratuitous request; arp: gratuitous reply; arp: probe for another's address; arp: refresh by unicast"},
	{"solicitation with and without address option", "nd: solicitation; nd: solicitation without an address option; nd: refresh by unicast"},
	{"duplicate address detection", "nd: duplicate address detection, own; nd: duplicate address detection, another's; nd: duplicate address detection without nonce"},
	{"ND checksums, ours and theirs", "nd: solicitation; nd: checksum wrong; nd: checksum left to a NIC; TestLocalTraffic"},

	{"outer headers byte for byte, over IPv4 and IPv6", "encap: VTEP 1, ipv4, DSCP 46, ECN 0; encap: VTEP 2, ipv4, DSCP 46, ECN 0; TestFloodByKernel"},
	{"lengths of inner frames, odd and largest", "TestEncapLengths; encap: VTEP 1, odd length; encap: largest over IPv4; encap: largest over IPv6"},
	{"source port: range, one of a flow, many of flows", "TestSourcePortEntropy"},
	{"ECN outwards: four code points", "encap: VTEP 1, ipv4, DSCP 46, ECN 1; encap: VTEP 1, ipv6, DSCP 46, ECN 2; encap: VTEP 2, ipv4, DSCP 46, ECN 3"},
	{"VNI 0, 1 and the largest; reserved bits zero", "TestEncapVNI"},

	{"I flag missing, reserved bits set", "decap: no I flag; decap: over IPv6, no I flag; decap: reserved bits"},
	{"unknown VNI, unknown VTEP", "decap: VNI that is not here; decap: VTEP that we do not know; decap: VTEP that we do not know over IPv6"},
	{"inner frame truncated", "decap: inner frame cut; decap: inner packet cut; decap: VXLAN header cut"},
	{"inner destination that is not here", "decap: behind another VTEP; decap: nobody of that VNI here"},
	{"inner broadcast is not sent back out", "decap: broadcast; TestSplitHorizon"},
	{"outer fragment", "decap: outer first fragment; decap: outer later fragment; decap: over IPv6, outer fragment"},
	{"outer checksum right and wrong", "decap: outer checksum that comes out; decap: outer checksum, which is not looked at"},
	{"ECN inwards: RFC 6040, four by four", "TestECN"},
	{"outer IPv6", "decap: over IPv6; decap: IPv4 over IPv6; decap: ARP over IPv6"},

	{"too big for the path: ICMP and ICMPv6 with MTU, quote and checksum", "pmtu: IPv4 over IPv4, one byte more; pmtu: IPv6 over IPv6; pmtu: IPv4 over IPv6; pmtu: IPv6 over IPv4"},
	{"too big, may be fragmented", "pmtu: may be fragmented, but not by us"},
	{"no errors about errors, fragments", "pmtu: an error, about which there is none; pmtu: IPv6 error; pmtu: a later fragment"},

	{"random frames, at every program", "TestRandomFrames; FuzzFrames; TestRandomFramesByKernel"},
	{"what the verifier looks at", "TestVerifierBudget"},
}

// TestDemands: all that is named is there.
func TestDemands(t *testing.T) {
	have := map[string]bool{}
	goldens, _ := filepath.Glob("testdata/*.txt")
	for _, path := range goldens {
		for _, line := range lines(t, path) {
			if name, ok := strings.CutPrefix(line, "== "); ok {
				have[strings.TrimSuffix(filepath.Base(path), ".txt")+": "+name] = true
			}
		}
	}
	sources, _ := filepath.Glob("*_test.go")
	for _, path := range sources {
		for _, line := range lines(t, path) {
			if name, ok := strings.CutPrefix(line, "func "); ok {
				name, _, _ = strings.Cut(name, "(")
				have[name] = true
			}
		}
	}
	for _, d := range demands {
		for _, where := range strings.Split(d.where, "; ") {
			if !have[where] {
				t.Errorf("%s: no such vector or test: %q", d.what, where)
			}
		}
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}
