// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// netns is a network namespace, kept by a process that does nothing.
type netns struct {
	t   *testing.T
	pid int
}

func newNetns(t *testing.T) netns {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	n := netns{t, cmd.Process.Pid}
	n.do("ip link set lo up")
	return n
}

// command is a program of this namespace. Not `ip netns exec`, which mounts
// /sys anew.
func (n netns) command(words ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", n.pid)}, words...)...)
}

func (n netns) do(lines ...string) {
	n.t.Helper()
	for _, line := range lines {
		if out, err := n.command(strings.Fields(line)...).CombinedOutput(); err != nil {
			n.t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

func here(t *testing.T, lines ...string) {
	t.Helper()
	netns{t, os.Getpid()}.do(lines...)
}

// ready waits until devices send, and until their addresses are there: for a
// moment after they are set up the kernel drops what they are to send, and
// IPv6 takes addresses, even without looking for duplicates, in its own time.
func (n netns) ready(devices ...string) {
	n.t.Helper()
	for _, device := range devices {
		for deadline := time.Now().Add(patience); ; {
			link, err := n.command("ip", "-o", "link", "show", "dev", device).Output()
			addrs, errs := n.command("ip", "-6", "-o", "addr", "show", "dev", device, "scope", "global", "tentative").Output()
			if err := errors.Join(err, errs); err != nil {
				n.t.Fatalf("show %s: %v", device, err)
			}
			if strings.Contains(string(link), "state UP") && len(addrs) == 0 {
				break
			}
			if time.Now().After(deadline) {
				n.t.Fatalf("%s does not come up: %s%s", device, link, addrs)
			}
		}
	}
}

// transfer sends sentBytes by TCP from one namespace to an address of
// another, and compares digests; segmented sends UDP that is cut up on the way.
func transfer(from, to netns, address string) {
	from.t.Helper()
	talk(from, to, "serve "+address, "send "+address)
}

func segmented(from, to netns, address string) {
	from.t.Helper()
	talk(from, to, "collect "+address, "segments "+address)
}

// talk runs two peers, the second when the first is ready.
func talk(from, to netns, first, second string) {
	t := from.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	server, client := to.command(self), from.command(self)
	server.Env = append(os.Environ(), asPeer+"="+first)
	client.Env = append(os.Environ(), asPeer+"="+second)
	server.Stderr = os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%s: %v", first, err)
	}
	begin := time.Now()
	if out, err := client.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", second, err, out)
		return
	}
	t.Logf("%s: %v", second, time.Since(begin).Round(time.Millisecond))
}

// peer runs what peer_test.go can do in this namespace.
func (n netns) peer(what string) {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := n.command(self)
	cmd.Env = append(os.Environ(), asPeer+"="+what)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

// forXDP does it in this namespace.
func (n netns) forXDP(devices ...string) {
	n.t.Helper()
	for _, device := range devices {
		n.peer("offload " + device)
	}
}

var checksumErrors = regexp.MustCompile(`(?m)^Tcp: .* (\d+)$`)

// intact fails when a namespace has seen segments with wrong checksums.
func (n netns) intact() {
	n.t.Helper()
	out, err := n.command("cat", "/proc/net/snmp").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	if m := checksumErrors.FindStringSubmatch(string(out)); m == nil || m[1] != "0" {
		n.t.Errorf("TCP segments with wrong checksums: got %v, want 0", m)
	}
}

// forXDP sets what a device must not and must do whose peer sends it XDP
// frames: leave no checksums unfinished, and have NAPI by GRO.
func forXDP(device string) error {
	const setTxSum, setGRO = 0x17, 0x2c
	return errors.Join(offload(device, setTxSum, 0), offload(device, setGRO, 1))
}

func offload(device string, command, value uint32) error {
	s, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(s)
	setting := struct{ command, value uint32 }{command, value}
	request := struct {
		name [16]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&setting)}
	copy(request.name[:], device)
	const siocethtool = 0x8946
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s), siocethtool, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("set offload %#x of %s: %w", command, device, errno)
	}
	return nil
}

// port is an endpoint with its container.
type port struct {
	netns
	ep      Endpoint
	host    string
	ifindex int
}

// attach makes a pair, its host's end here with the tc program, the other as
// eth0 of a namespace; and for xdp with the XDP program and what the other
// end needs then.
func (w *world) attach(t *testing.T, ep Endpoint, xdp bool, mtu int, addresses ...string) port {
	t.Helper()
	p := port{netns: newNetns(t), ep: ep, host: fmt.Sprintf("ep%d", ep.Id)}
	c := fmt.Sprintf("c%d", ep.Id)
	here(t, fmt.Sprintf("ip link add %s mtu %d numrxqueues 4 numtxqueues 2 type veth peer name %s mtu %d numrxqueues 2 numtxqueues 2 address %s",
		p.host, mtu, c, mtu, net.HardwareAddr(ep.Mac.B[:])))
	t.Cleanup(func() { exec.Command("ip", "link", "del", p.host).Run() })
	if xdp {
		if err := forXDP(c); err != nil {
			t.Fatal(err)
		}
	}
	here(t, fmt.Sprintf("ip link set %s netns %d name eth0", c, p.pid))
	p.do("ip link set eth0 up")
	// Last: a veth looks whether its peer has GRO, so can be sent XDP frames through it, when it is opened itself.
	here(t, "ip link set "+p.host+" up")
	netns{t, os.Getpid()}.ready(p.host)
	for _, a := range addresses {
		p.do("ip addr add " + a + " dev eth0 nodad")
	}
	p.ready("eth0")
	p.ifindex = index(t, p.host)
	w.put("ep_by_ifindex", uint32(p.ifindex), &ep)
	w.hook(t, w.tc.Programs["tc_endpoint"], p.ifindex)
	e := FdbEntry{Type: TCFdbTypeFDB_LOCAL, Target: uint32(p.ifindex), Endpoint: ep.Id}
	if xdp {
		w.hookXDP(t, w.xdp.Programs["xdp_endpoint"], p.ifindex)
		w.put("devs", uint32(p.ifindex), &TCBpfDevmapVal{Ifindex: uint32(p.ifindex)})
		e.Flags = TCFdbFlagFDB_XDP
	}
	w.forwarding(ep.Vni, net.HardwareAddr(ep.Mac.B[:]).String(), e)
	for _, a := range addresses {
		ip, _, _ := strings.Cut(a, "/")
		w.neighbour(ep.Vni, ip, NeighEntry{Mac: ep.Mac})
	}
	return p
}

func index(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

func (w *world) hook(t *testing.T, p *ebpf.Program, ifindex int) {
	t.Helper()
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: p, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func (w *world) hookXDP(t *testing.T, p *ebpf.Program, ifindex int) {
	t.Helper()
	l, err := link.AttachXDP(link.XDPOptions{Interface: ifindex, Program: p, Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// uplink attaches up0, with VTEP 7 behind it in another namespace's down0.
func (w *world) uplink(t *testing.T, far netns, local, remote string) {
	t.Helper()
	ours, err := net.InterfaceByName("up0")
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVtep(Tunnel{LocalMAC: ours.HardwareAddr, RemoteMAC: farMAC(t, far), Local: addr(local),
		Remote: addr(remote), Ifindex: ours.Index, MTU: ours.MTU})
	if err != nil {
		t.Fatal(err)
	}
	w.put("vtep", uint32(7), &v)
	w.put("vtep_by_ip", &VtepKey{Family: Family(addr(remote)), Ip: AddrOf(addr(remote))}, uint32(7))
	w.forwarding(100, macR, FdbEntry{Type: TCFdbTypeFDB_REMOTE, Target: 7})
	w.put("devs", uint32(ours.Index), &TCBpfDevmapVal{Ifindex: uint32(ours.Index)})
	w.hook(t, w.tc.Programs["tc_uplink"], ours.Index)
}

// farMAC: /sys is the mount's, not the namespace's, so ip says it.
func farMAC(t *testing.T, far netns) net.HardwareAddr {
	t.Helper()
	out, err := far.command("ip", "-o", "link", "show", "down0").Output()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`link/ether (\S+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("down0 has no MAC: %s", out)
	}
	return mac(string(m[1]))
}

// receivers replaces the list of who gets broadcasts.
func (w *world) receivers(vni uint32, list ...Receiver) {
	w.Helper()
	inner, err := NewReceivers(list)
	if err != nil {
		w.Fatal(err)
	}
	defer inner.Close()
	w.put("bum", vni, uint32(inner.FD()))
}
