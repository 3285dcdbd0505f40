// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"foundry/integration/env"
)

// netHost is a host of its own as far as networks go: a namespace with an
// uplink, and a `foundryd agent` in it.
type netHost struct {
	box
	root, pins string
	agent      *exec.Cmd
}

func newNetHost(t *testing.T, name string) *netHost {
	t.Helper()
	h := &netHost{box: newBox(t), root: filepath.Join(t.TempDir(), name), pins: bpffs(t)}
	if err := os.MkdirAll(h.root, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.end(t, syscall.SIGTERM) })
	h.start(t)
	return h
}

func (h *netHost) env(t *testing.T) []string {
	return []string{"FOUNDRY_ROOT=" + filepath.Dir(h.root), "FOUNDRY_BPFFS=" + h.pins, "PATH=" + env.Bin(t) + ":" + os.Getenv("PATH")}
}

func (h *netHost) start(t *testing.T) {
	t.Helper()
	h.agent = h.in(context.Background(), filepath.Join(env.Bin(t), "foundryd"), "agent", "-root", h.root)
	h.agent.Env, h.agent.Stderr = h.env(t), os.Stderr
	if err := h.agent.Start(); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "an answer of the agent", func() bool { return h.try(t, "net list") == nil })
}

func (h *netHost) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if h.agent == nil {
		return
	}
	_ = h.agent.Process.Signal(sig) // nsenter has become the agent
	_ = h.agent.Wait()
	h.agent = nil
}

func (h *netHost) try(t *testing.T, line string) error {
	_, err := h.foundry(t, line)
	return err
}

func (h *netHost) foundry(t *testing.T, line string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(env.Bin(t), "foundry"), strings.Fields(line)...)
	cmd.Env = h.env(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("foundry %s: %w: %s", line, err, out)
	}
	return string(out), err
}

func (h *netHost) must(t *testing.T, line string) string {
	t.Helper()
	out, err := h.foundry(t, line)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Two hosts are joined as docs/network.md says. Without containers a server is
// `foundryd agent`; it is killed and started again, and its successor knows
// the other host.
func TestNetworkOfTwoHosts(t *testing.T) {
	requireFoundry(t)
	env.RequireRoot(t)
	hosts := []*netHost{newNetHost(t, "one"), newNetHost(t, "two")}
	hosts[0].run(t, fmt.Sprintf("ip link add uplink type veth peer name uplink netns %d", hosts[1].pid))
	inside := []box{newBox(t), newBox(t)}
	for i, h := range hosts {
		other := hosts[1-i]
		if st, err := os.Stat(filepath.Join(h.root, "agent.sock")); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("agent.sock: got %v, %v", st, err)
		}
		h.run(t, fmt.Sprintf("ip addr add 192.0.2.%d/24 dev uplink", i+1))
		h.run(t, "ip link set uplink up")
		other.run(t, "ip link set uplink up")
		h.must(t, "net add 100")
		h.must(t, "net underlay set uplink")
		h.must(t, fmt.Sprintf("vtep add 192.0.2.%d", 2-i))
		h.must(t, fmt.Sprintf("net endpoint add box --vni 100 --netns %s --address 10.0.0.%d/24 --mac 02:00:00:00:00:0%d", inside[i].netns(), i+1, i+1))
		h.must(t, fmt.Sprintf("fdb add 100 02:00:00:00:00:0%d --vtep 192.0.2.%d --address 10.0.0.%d", 2-i, 2-i, 2-i))
	}
	inside[0].reaches(t, "10.0.0.2")
	before := hosts[0].must(t, "fdb list")
	if !strings.Contains(before, "vtep 192.0.2.2") || !strings.Contains(before, "endpoint box") {
		t.Errorf("FDB: got\n%s", before)
	}
	if out := hosts[0].must(t, "net status"); !strings.Contains(out, "uplink, 192.0.2.1") || !strings.Contains(out, "encap") {
		t.Errorf("status: got\n%s", out)
	}
	hosts[0].end(t, syscall.SIGKILL)
	inside[1].reaches(t, "10.0.0.1")
	hosts[0].start(t)
	if after := hosts[0].must(t, "fdb list"); after != before {
		t.Errorf("FDB: got\n%swant\n%s", after, before)
	}
	inside[1].reaches(t, "10.0.0.1")
	if err := hosts[0].try(t, "vtep delete 192.0.2.2"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("delete a VTEP with somebody behind it: got %v", err)
	}
	hosts[0].must(t, "vtep add 192.0.2.2 --down --replace")
	if out := hosts[0].must(t, "vtep list"); !strings.Contains(out, "down") {
		t.Errorf("VTEPs: got\n%s", out)
	}
	for _, h := range hosts {
		h.must(t, "net purge --yes")
		h.must(t, "net purge --yes")
	}
}
