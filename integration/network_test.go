// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"foundry/integration/env"
)

// box is a process that does nothing, in a network namespace of its own.
type box struct{ pid int }

func newBox(t *testing.T) box {
	t.Helper()
	cmd := exec.Command("sleep", "100000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return box{cmd.Process.Pid}
}

func (b box) netns() string { return fmt.Sprintf("/proc/%d/ns/net", b.pid) }

// in is a command in the namespace.
func (b box) in(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=" + b.netns(), "--"}, args...)...)
}

// run runs a line in the namespace.
func (b box) run(t *testing.T, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := b.in(ctx, strings.Fields(line)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// reaches fails the test unless address answers soon: devices that have just
// come up take a moment.
func (b box) reaches(t *testing.T, address string) {
	t.Helper()
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := b.in(ctx, "busybox", "ping", "-c", "1", "-W", "1", address).Run()
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatalf("%s does not answer", address)
}

// bpffs mounts one for the pins of a test.
func bpffs(t *testing.T) string {
	t.Helper()
	env.RequireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// lists are what `foundry` says about networks.
func lists(t *testing.T, d *env.Daemon) string {
	t.Helper()
	var all strings.Builder
	for _, args := range [][]string{{"net", "list"}, {"net", "endpoint", "list"}, {"fdb", "list"}, {"vtep", "list"}, {"net", "underlay", "show"}} {
		out, code := foundry(t, d, append(args, "-o", "json")...)
		if code != 0 {
			t.Fatalf("foundry %q: %s", args, out)
		}
		all.WriteString(out)
	}
	return all.String()
}

func mustFoundry(t *testing.T, d *env.Daemon, line string) string {
	t.Helper()
	out, code := foundry(t, d, strings.Fields(line)...)
	if code != 0 {
		t.Fatalf("foundry %s: %s", line, out)
	}
	return out
}

// Two namespaces are put into a network by the command line. The server is
// killed and replaced: frames go on, none is lost, and the lists are the same.
func TestNetworkOutlivesServer(t *testing.T) {
	requireFoundry(t)
	pins := bpffs(t)
	d := env.Containerd(t, env.Config{Env: []string{"FOUNDRY_BPFFS=" + pins}})
	a, b := newBox(t), newBox(t)
	one := d.StartTask(t, d.Container(t, env.ContainerConfig{ID: "one", Args: []string{"/bin/sleep", "100000"}}))
	t.Cleanup(func() {
		if t.Failed() { // else the test has done it
			foundry(t, d, "net", "purge", "--yes")
		}
	})
	mustFoundry(t, d, "net add 100")
	mustFoundry(t, d, "net endpoint add a --vni 100 --address 10.77.0.1/24 --address fd77::1/64 --netns "+a.netns())
	mustFoundry(t, d, "net endpoint add b --vni 100 --address 10.77.0.2/24 --address fd77::2/64 --netns "+b.netns())
	a.reaches(t, "10.77.0.2")
	a.reaches(t, "fd77::2")
	before := lists(t, d)
	if !strings.Contains(before, `"a"`) || !strings.Contains(before, "10.77.0.2") {
		t.Fatalf("got %s", before)
	}

	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	var said bytes.Buffer
	pings := a.in(ctx, "busybox", "ping", "-i", "0.05", "10.77.0.2")
	pings.Stdout = &said
	if err := pings.Start(); err != nil {
		t.Fatal(err)
	}
	mustKill(t, d.Servers()[0].Pid, syscall.SIGKILL)
	env.Eventually(t, "the end of its container", func() bool { return !env.Alive(int(one.Pid())) })
	if out, code := foundry(t, d, "net", "list"); code != 1 || !strings.Contains(out, "no server runs") {
		t.Errorf("without a server: exit status %d: %s", code, out)
	}
	b.reaches(t, "10.77.0.1")
	two := d.StartTask(t, d.Container(t, env.ContainerConfig{ID: "two", Args: []string{"/bin/sleep", "100000"}}))
	if after := lists(t, d); after != before {
		t.Errorf("another server lists\n%swant\n%s", after, before)
	}
	if out := mustFoundry(t, d, "net reconcile"); strings.Count(out, "\n") != 1 {
		t.Errorf("after its start there was something to repair:\n%s", out)
	}
	b.reaches(t, "10.77.0.1")
	_ = pings.Process.Signal(syscall.SIGINT)
	_ = pings.Wait()
	if !strings.Contains(said.String(), " 0% packet loss") {
		t.Errorf("meanwhile: %s", said.String()[strings.LastIndex(said.String(), "---"):])
	}

	t.Run("Drops", func(t *testing.T) { networkDrops(t, d, a) })
	t.Run("Capture", func(t *testing.T) { networkCapture(t, d, a) })
	mustFoundry(t, d, "net endpoint delete a b")
	mustFoundry(t, d, "net delete 100")
	mustFoundry(t, d, "net purge --yes")
	if files, err := filepath.Glob(pins + "/[^mp]*"); err != nil || len(files) > 0 { // maps.debug, progs.debug
		t.Errorf("after a purge there is %v, %v", files, err)
	}
	if err := two.Kill(d.Context(t), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// What is dropped has a reason, counted and live.
func networkDrops(t *testing.T, d *env.Daemon, a box) {
	live := make(chan string)
	go func() {
		out, _ := foundry(t, d, "drops", "--follow", "--endpoint", "a", "--reason", "arp_unknown", "-c", "2", "-o", "json")
		live <- out
	}()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_ = a.in(ctx, "busybox", "ping", "-c", "1", "-W", "1", "10.77.0.99").Run()
		cancel()
		select {
		case out := <-live:
			if !strings.Contains(out, `"reason":"arp_unknown"`) || !strings.Contains(out, "who has 10.77.0.99, tell 10.77.0.1") {
				t.Errorf("live: got %s", out)
			}
		default:
			if !t.Failed() && t.Context().Err() == nil {
				continue
			}
		}
		break
	}
	if out := mustFoundry(t, d, "drops --endpoint a"); !strings.Contains(out, "arp_unknown") {
		t.Errorf("counted: got %s", out)
	}
}

// A capture is a file that others can read, with both ways and what was dropped.
func networkCapture(t *testing.T, d *env.Daemon, a box) {
	file := filepath.Join(t.TempDir(), "a.pcapng")
	done := make(chan string)
	go func() {
		out, code := foundry(t, d, "capture", "a", "-w", file, "-c", "60")
		done <- fmt.Sprintf("%d %s", code, out)
	}()
	for finished := false; !finished; {
		for _, address := range []string{"10.77.0.2", "10.77.0.98"} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_ = a.in(ctx, "busybox", "ping", "-c", "3", "-i", "0.1", "-W", "1", address).Run()
			cancel()
		}
		select {
		case said := <-done:
			if finished = true; said != "0 " {
				t.Errorf("got %s", said)
			}
		default:
		}
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := pcapgo.NewNgReader(in, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for {
		_, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got[strconv.Itoa(info.InterfaceIndex)+strings.Join(options.Comments, "")+" "+strconv.Itoa(int(options.Flags.Direction))]++
	}
	for _, want := range []string{"0 1", "0 2", "1dropped: arp_unknown 2"} { // interface, comment, direction
		if got[want] == 0 {
			t.Errorf("no frame is %q: got %v", want, got)
		}
	}
}
