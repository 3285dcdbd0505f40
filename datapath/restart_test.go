// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"foundry/bpf"
)

// container moves the other end of a pair into a namespace of its own, and
// returns how to run a program there.
func container(t *testing.T, name string, e Endpoint) func(line string) *exec.Cmd {
	t.Helper()
	keep := exec.Command("sleep", "600")
	keep.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := keep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keep.Process.Kill(); keep.Wait() })
	in := func(line string) *exec.Cmd {
		return exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", keep.Process.Pid)}, strings.Fields(line)...)...)
	}
	for _, cmd := range []*exec.Cmd{
		exec.Command("ip", "link", "set", name+"p", "netns", fmt.Sprint(keep.Process.Pid), "name", "eth0", "address", e.MAC.String()),
		in("ip link set eth0 up"), in("ip addr add " + e.Addrs[0].String() + "/24 dev eth0"), exec.Command("ip", "link", "set", name, "up"),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	return in
}

// Forwarding does not depend on the process: no frame is lost while one goes,
// another takes over, exchanges all programs, and adds and removes others.
func TestRestartLosesNothing(t *testing.T) {
	d, dir := instance(t)
	s := on(t)
	inA := container(t, "pa", s.Endpoints[0])
	container(t, "pb", s.Endpoints[1])
	set(t, d, s)
	if out, err := inA("busybox ping -c 1 -W 5 " + ipB.String()).CombinedOutput(); err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	const frames = 400
	ping := inA(fmt.Sprintf("busybox ping -i 0.005 -W 5 -c %d -q %s", frames, ipB))
	var out bytes.Buffer
	ping.Stdout, ping.Stderr = &out, &out
	if err := ping.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- ping.Wait() }()
	other := Endpoint{Ifindex: pair(t, "pc"), VNI: 100, MAC: MAC{2, 0, 0, 0, 0, 0xc}}
	restarts := 0
	for running := true; running; {
		select {
		case err := <-ended:
			running = false
			if want := fmt.Sprintf("%d packets transmitted, %d packets received", frames, frames); err != nil || !strings.Contains(out.String(), want) {
				t.Errorf("after %d restarts: %v\n%s", restarts, err, out.String())
			}
		default:
			d.Close()
			d = open(t, dir)
			with := s
			with.Endpoints = append([]Endpoint{other}, s.Endpoints...)
			set(t, d, with)
			set(t, d, s)
			restarts++
		}
	}
	t.Logf("%d restarts under %d frames", restarts, frames)
	if restarts == 0 {
		t.Error("the frames were through before anything was restarted")
	}
	checkCounters(t, d, s, frames)
}

// checkCounters: all that was sent was counted across the restarts, and goes
// with its endpoint.
func checkCounters(t *testing.T, d *Datapath, s State, frames uint64) {
	t.Helper()
	counters, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	a := uint32(s.Endpoints[0].Ifindex)
	sent := bpf.StatsKey{Endpoint: a, Action: bpf.TCActionACT_REDIRECT, Reason: bpf.TCReasonREASON_LOCAL, Direction: bpf.TCDirectionDIR_FROM}
	if got := counters[sent].Packets; got < frames {
		t.Errorf("frames sent by a: got %d, want at least %d", got, frames)
	}
	if got, want := set(t, d, State{}), fmt.Sprintf("delete stats_ep %d\n", a); !strings.Contains(got, want) {
		t.Errorf("without endpoints: got\n%swant %q in it", got, want)
	}
	if counters, err = d.Counters(); err != nil || counters[sent].Packets != 0 {
		t.Errorf("of an endpoint that is gone: got %v, %v", counters[sent], err)
	}
}
