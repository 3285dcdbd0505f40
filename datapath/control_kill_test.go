// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// script is a life of everything that Control makes: what a process does that
// is killed in the middle of it, and what its successor does after that.
func script(ctx context.Context, c *Control, a EndpointRecord) error {
	_, underlay := c.SetUnderlay(ctx, UnderlayRecord{Ifname: "up0", Encap: EncapBPF})
	_, network := c.AddNetwork(ctx, NetworkRecord{VNI: 100})
	_, peer := c.AddPeer(ctx, PeerRecord{IP: vtepR})
	remotes := c.AddRemotes(ctx, []RemoteRecord{{VNI: 100, MAC: macR, Addrs: []netip.Addr{ipR}, Peer: vtepR}})
	_, endpoint := c.AddEndpoint(ctx, a)
	return errors.Join(underlay, network, peer, remotes, endpoint)
}

func unscript(ctx context.Context, c *Control) error {
	return errors.Join(c.DeleteEndpoint(ctx, "a"), c.DeleteRemotes(ctx, []RemoteKey{{100, macR}}), c.DeletePeer(ctx, vtepR),
		c.DeleteNetwork(ctx, 100), c.DeleteUnderlay(ctx))
}

// brief is of that what has steps of its own; all else is done as a network is.
func brief(ctx context.Context, c *Control, a EndpointRecord) error {
	_, network := c.AddNetwork(ctx, NetworkRecord{VNI: 100})
	_, endpoint := c.AddEndpoint(ctx, a)
	return errors.Join(network, endpoint, c.DeleteEndpoint(ctx, "a"), c.DeleteNetwork(ctx, 100))
}

// victim tells a test process that it is one to be killed: at which step, or
// never (-1), where its site is, and the namespaces of its endpoints.
const victim = "FOUNDRY_TEST_VICTIM"

// beVictim is the process that TestKilledAtAnyStep starts.
func beVictim(words string) error {
	args, ctx := strings.Fields(words), context.Background()
	at, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	config := ControlConfig{Dir: args[1], Store: args[2], Interval: -1}
	config.fault = func(step string) {
		if at--; at == 0 {
			fmt.Println("killed after", step)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	c, err := StartControl(ctx, config)
	if err != nil {
		return err
	}
	a := EndpointRecord{Name: "a", VNI: 100, NetNS: args[3], Addrs: []netip.Prefix{netip.PrefixFrom(ipA, 24)}}
	if at >= 0 {
		err = brief(ctx, c, a)
	}
	for at < 0 && err == nil {
		err = errors.Join(script(ctx, c, a), unscript(ctx, c))
	}
	return errors.Join(err, c.Close())
}

// stage is what a victim finds: a site, an uplink and the namespace of an endpoint.
func stage(t *testing.T) (s site, ns string) {
	s = newSite(t)
	uplink(t)
	ns, _ = netns(t, "a")
	return s, ns
}

// uplink makes the device up0, with an address, whose other end has that of a
// peer and answers.
func uplink(t *testing.T) (far string) {
	t.Helper()
	far, _ = netns(t, "far")
	run(t, "ip link add up0 type veth peer name up0p")
	t.Cleanup(func() { exec.Command("ip", "link", "del", "up0").Run() })
	run(t, "ip addr add 192.0.2.1/24 dev up0")
	run(t, "ip link set up0p netns "+far)
	for _, line := range []string{"ip link set lo up", "ip link set up0p address 02:00:00:00:aa:01", "ip addr add 192.0.2.2/24 dev up0p", "ip link set up0p up"} {
		if out, err := in(t, far, line); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	run(t, "ip link set up0 up")
	return far
}

func start(s site, at int, ns string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s %s", victim, at, s.Dir, s.Store, ns))
	return cmd
}

// Wherever a process is killed, its successor finishes or takes back what it
// was at: nothing is left that nobody owns, and the same calls succeed.
func TestKilledAtAnyStep(t *testing.T) {
	s, ns := stage(t)
	for at := 1; ; at++ {
		out, err := start(s, at, ns).CombinedOutput()
		_, where, killed := strings.Cut(string(out), "killed after ")
		if !killed && err != nil {
			t.Fatalf("step %d: %v\n%s", at, err, out)
		}
		where = strings.TrimSpace(where)
		succeed(t, s, fmt.Sprintf("%d (%s)", at, where), ns)
		if !killed {
			t.Logf("killed after %d steps", at-1)
			return
		}
	}
}

// The same, at any instant.
func TestKilledAtAnyTime(t *testing.T) {
	s, ns := stage(t)
	for range 4 {
		cmd := start(s, -1, ns)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		eventually(t, "the victim began", func() bool { return pins(t, s) > 0 })
		after := time.Duration(rand.IntN(30_000)) * time.Microsecond
		time.Sleep(after)
		cmd.Process.Kill()
		if cmd.Wait(); strings.Contains(out.String(), "FAIL") {
			t.Fatal(out.String())
		}
		succeed(t, s, after.String(), ns)
	}
}

// succeed is what comes after a process that was killed.
func succeed(t *testing.T, s site, where, ns string) {
	t.Helper()
	c, err := StartControl(t.Context(), s.ControlConfig)
	if err != nil {
		t.Fatalf("%s: start: %v", where, err)
	}
	defer c.Close()
	clean(t, c)
	if got, want := len(strings.Fields(pairs(t, s))), len(c.ListEndpoints()); got != want {
		t.Errorf("%s: got %d pairs, want %d, one an endpoint", where, got, want)
	}
	a := EndpointRecord{Name: "a", VNI: 100, NetNS: ns, Addrs: []netip.Prefix{netip.PrefixFrom(ipA, 24)}}
	if err := script(t.Context(), c, a); err != nil {
		t.Errorf("%s: the same again: %v", where, err)
	}
	clean(t, c)
	if err := unscript(t.Context(), c); err != nil {
		t.Errorf("%s: delete: %v", where, err)
	}
	clean(t, c)
	if got := pairs(t, s); got != "" || pins(t, s) != 0 {
		t.Errorf("%s: left: pairs %q, %d pins", where, got, pins(t, s))
	}
}
