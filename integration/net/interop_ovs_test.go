// SPDX-License-Identifier: Apache-2.0

package net

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// vswitch is an Open vSwitch of its own: a database and a daemon that know
// only a directory of the test's and the foreign host's namespace. Its
// datapath is in the daemon, not in the kernel.
type vswitch struct {
	*foreign
	dir string
}

// newVswitch starts both and makes two bridges: phys has the uplink and the
// VTEP's address, inner a tunnel and the container's device.
func newVswitch(f *foreign) vswitch {
	f.Helper()
	v := vswitch{f, f.TempDir()}
	v.run("ovsdb-tool", "create", v.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	v.start("ovsdb-server", v.path("conf.db"), "--remote=punix:"+v.path("db.sock"))
	v.vsctl("--no-wait", "init")
	v.start("ovs-vswitchd", "unix:"+v.path("db.sock"), "--disable-system")
	v.vsctl("add-br", "phys", "--", "set", "bridge", "phys", "datapath_type=netdev",
		fmt.Sprintf("other_config:hwaddr=%q", f.other.up.HardwareAddr), "--", "add-port", "phys", "up0")
	v.deaf("up0")
	ipIn(f.T, f.other.ns, fmt.Sprintf("addr del %v dev up0", f.vtep(1)),
		fmt.Sprintf("addr add %v dev phys%s", f.vtep(1), nodad(f.other.ip)), "link set phys up")
	v.vsctl("add-br", "inner", "--", "set", "bridge", "inner", "datapath_type=netdev", "--",
		"add-port", "inner", "tunnel", "--", "set", "interface", "tunnel", "type=vxlan",
		fmt.Sprintf("options:key=%d", foreignVNI), fmt.Sprintf("options:remote_ip=%q", f.ours.ip), "--",
		"add-port", "inner", ourDevice, "--", "set", "interface", ourDevice, "type=internal",
		fmt.Sprintf("mac=%q", f.b.mac), fmt.Sprintf("mtu_request=%d", f.b.mtu))
	ipIn(f.T, f.other.ns, "link set "+ourDevice+" up", fmt.Sprintf("addr add %v/8 dev %s", f.b.ip4, ourDevice),
		fmt.Sprintf("addr add %v/64 dev %s nodad", f.b.ip6, ourDevice))
	f.eventually("the container's device has its MTU", func() bool {
		return device(f.T, f.other.ns, ourDevice).MTU == f.b.mtu
	})
	return v
}

func (v vswitch) path(name string) string { return filepath.Join(v.dir, name) }

func (v vswitch) command(name string, args ...string) *exec.Cmd {
	v.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		v.Fatalf("%v (run make setup)", err)
	}
	cmd := exec.Command("nsenter", append([]string{"--net=" + path(v.other.ns), program}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+v.dir, "OVS_LOGDIR="+v.dir, "OVS_DBDIR="+v.dir, "OVS_SYSCONFDIR="+v.dir)
	return cmd
}

func (v vswitch) run(name string, args ...string) string {
	v.Helper()
	out, err := v.command(name, args...).CombinedOutput()
	if err != nil {
		v.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// vsctl returns when the daemon has done what the database says.
func (v vswitch) vsctl(args ...string) string {
	v.Helper()
	return v.run("ovs-vsctl", append([]string{"--timeout=20", "--db=unix:" + v.path("db.sock")}, args...)...)
}

// start runs a daemon until the end of the test. It is there when it listens.
func (v vswitch) start(name string, args ...string) {
	v.Helper()
	control := v.path(name + ".ctl")
	log := v.path(name + ".log")
	cmd := v.command(name, append(args, "--unixctl="+control, "--log-file="+log, "--verbose=syslog:off", "--verbose=console:off")...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, err := os.ReadFile(log); err == nil && v.Failed() {
			v.Logf("%s:\n%s", name, text)
		}
	})
	v.eventually(name+" listens", func() bool {
		_, err := os.Stat(control)
		return err == nil
	})
}

// Open vSwitch, whose datapath has nothing in common with the kernel's, both
// ways: it answers ARP and ND by broadcasts through the tunnel.
func TestInteropOVS(t *testing.T) {
	for name, c := range map[string]interop{
		"IPv4":                    {},
		"IPv6":                    {wire: wire{v6: true}},
		"IPv4, XDP on the uplink": {wire: wire{xdp: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var v vswitch
			f := newForeign(t, c, func(f *foreign) {
				// It reads frames as they are on the wire, where nothing is left to be done.
				offload(t, f.ours.ns, "up0", txChecksum, false)
				v = newVswitch(f)
			})
			f.talk()
			f.fine()
			v.tunnelled()
		})
	}
}

var frames = regexp.MustCompile(`[rt]x pkts=(\d+)`)

// tunnelled wants the switch to have seen hundreds of frames come and go by
// its tunnel.
func (v vswitch) tunnelled() {
	v.Helper()
	v.eventually("frames by the tunnel, both ways", func() bool {
		ways := frames.FindAllStringSubmatch(v.run("ovs-ofctl", "dump-ports", "unix:"+v.path("inner.mgmt"), "tunnel"), -1)
		return len(ways) == 2 && !slices.ContainsFunc(ways, func(m []string) bool { return len(m[1]) < 3 })
	})
}

// deaf keeps the kernel from looking at what comes in by a device. Sockets
// that see all frames, which is how the switch gets them, see them before.
func (v vswitch) deaf(name string) {
	v.Helper()
	const drop = 2 // TC_ACT_SHOT
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, drop), asm.Return()}})
	if err != nil {
		v.Fatal(err)
	}
	defer p.Close()
	err = v.other.ns.Do(func() error {
		l, err := link.AttachTCX(link.TCXOptions{Interface: device(v.T, v.other.ns, name).Index, Program: p, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			v.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		v.Fatal(err)
	}
}
