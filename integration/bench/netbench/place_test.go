// SPDX-License-Identifier: Apache-2.0

package netbench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"foundry/datapath/veth"
)

// place is a network namespace: a host, or a container.
type place struct {
	*testing.B
	*veth.NS
}

func newPlace(b *testing.B) place {
	b.Helper()
	ns, err := veth.NewNS()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := ns.Close(); err != nil {
			b.Error(err)
		}
	})
	p := place{b, ns}
	p.ip("link set lo up")
	return p
}

// path names the namespace, which has no name.
func (p place) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), p.File().Fd()) }

// in does something there.
func (p place) in(what string, fn func() error) {
	p.Helper()
	if err := p.Do(fn); err != nil {
		p.Fatalf("%s: %+v", what, err)
	}
}

// ip runs lines of ip(8).
func (p place) ip(lines ...string) {
	p.Helper()
	for _, line := range lines {
		p.in("ip "+line, func() error { return output(exec.Command("ip", strings.Fields(line)...)) })
	}
}

func output(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func (p place) device(name string) (found net.Interface) {
	p.Helper()
	p.in("find "+name, func() error {
		i, err := net.InterfaceByName(name)
		if err == nil {
			found = *i
		}
		return err
	})
	return found
}

// serve starts the receiving end of the load, and waits until it listens.
func (p place) serve(load, address string) {
	p.Helper()
	cmd := exec.Command(load, "serve", address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.Fatal(err)
	}
	life, err := cmd.StdinPipe() // it ends with us, however we end
	if err != nil {
		p.Fatal(err)
	}
	p.in("serve "+address, cmd.Start) // a child is where the thread is that made it
	p.Cleanup(func() {
		life.Close()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		p.Fatalf("serve %s: %v", address, err)
	}
}

// sent is what the load program says of a run.
type sent struct {
	Seconds, Bits, Count, CPU, P50, P99 float64
}

// send runs the sending end.
func (p place) send(load string, words ...string) (s sent) {
	p.Helper()
	cmd := exec.Command(load, words...)
	var out, problem strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problem
	p.in("send", cmd.Start)
	if err := cmd.Wait(); err != nil {
		p.Fatalf("load %v: %v\n%s", words, err, &problem)
	}
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		p.Fatalf("load %v: %v", words, err)
	}
	return s
}
