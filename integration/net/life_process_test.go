// SPDX-License-Identifier: Apache-2.0

package net

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"foundry/datapath"
)

// version is a build of the data plane. Its zero value is ours.
type version struct {
	Program bool // other programs
	Layout  bool // maps of another layout
	MaxFDB  int
}

func (v version) String() string {
	var what []string
	if v.Program {
		what = append(what, "another program")
	}
	if v.Layout || v.MaxFDB > 0 {
		what = append(what, "another layout")
	}
	if what == nil {
		return "this version"
	}
	return strings.Join(what, " and ")
}

func (v version) config(dir string) datapath.Config {
	return datapath.Config{Dir: dir, MaxFDB: v.MaxFDB, Edit: v.edit}
}

func (v version) edit(s *ebpf.CollectionSpec) {
	if v.Layout {
		m := s.Maps["samples"]
		m.ValueSize, m.Key, m.Value = m.ValueSize+8, nil, nil
	}
	for _, p := range s.Programs {
		if v.Program {
			p.Instructions = slices.Insert(p.Instructions, 1, asm.Mov.Reg(asm.R1, asm.R1))
		}
	}
}

// life is what a process is told that keeps the data plane of a host.
type life struct {
	Dir     string
	Version version
	State   datapath.State
}

// asLife has the test's own program be such a process.
const asLife = "FOUNDRY_TEST_LIFE"

// TestLifeProcess is no test, but the process, when a test starts it.
func TestLifeProcess(t *testing.T) {
	text := os.Getenv(asLife)
	if text == "" {
		return
	}
	var l life
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	fmt.Println("began")
	d, err := datapath.Open(l.Version.config(l.Dir))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	changes, err := d.Set(l.State)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("set", len(changes))
	_, err = fmt.Scanln() // the end of the test, if it is not killed before
	fmt.Println(err)
}

// process is one that runs.
type process struct {
	h   *host
	cmd *exec.Cmd
	out *bufio.Reader
}

// live starts a process that takes the data plane of a host over.
func (h *host) live(dir string, v version) *process {
	f := h.f
	f.Helper()
	text, err := json.Marshal(life{dir, v, h.state()})
	if err != nil {
		f.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	p := &process{h: h, cmd: exec.Command("nsenter", "--net="+path(h.ns), self, "-test.run=^TestLifeProcess$")}
	p.cmd.Env = append(os.Environ(), asLife+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := p.cmd.StdinPipe(); err != nil {
		f.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		f.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.kill)
	p.expect("began")
	return p
}

// expect waits for a line.
func (p *process) expect(want string) {
	p.h.f.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		p.h.f.Fatalf("process of %s: got %q, %v, want %q", p.h.name, line, err, want)
	}
}

// kill ends it without warning.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// lives gives the data plane of every host to processes of a version, and
// returns how long that took.
func (f *fabric) lives(dirs []string, v version) (list []*process, took time.Duration) {
	f.Helper()
	begin := time.Now()
	for i, h := range f.hosts {
		list = append(list, h.live(dirs[i], v))
	}
	for _, p := range list {
		p.expect("set")
	}
	return list, time.Since(begin)
}
