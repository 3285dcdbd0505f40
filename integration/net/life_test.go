// SPDX-License-Identifier: Apache-2.0

package net

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"foundry/datapath"
	"foundry/datapath/veth"
)

// The process that keeps the data plane is killed, started again, upgraded to
// other programs, to another layout of the maps, and brought back, at once and
// in the middle of each of these. Nobody notices: not one of the datagrams is
// lost or late, and the streams come as they were sent.
func TestLife(t *testing.T) {
	for _, w := range []wire{{}, {v6: true, xdp: true}, {kernel: true}} {
		t.Run(w.String(), func(t *testing.T) {
			f := newFabric(t, 2, w)
			a := f.hosts[0].container(place{vni: 100, n: 1})
			b := f.hosts[0].container(place{vni: 100, n: 2})
			c := f.hosts[1].container(place{vni: 100, n: 3, xdp: w.xdp})
			a.reaches(b)
			a.reaches(c)
			dirs := f.handOver()
			flows := []interface{ end() }{a.numbers(b, b.ip4), a.numbers(c, c.ip6), c.numbers(b, b.ip4), b.river(c, c.ip4), a.river(b, b.ip6)}
			f.upgrades(dirs, w == (wire{}))
			f.interruptions(dirs)
			for _, flow := range flows {
				flow.end()
			}
			f.takeBack(dirs)
			f.intact()
			f.drops()
			f.resent()
		})
	}
}

// resent tells what TCP sent again. It does so, too, when a machine that is
// busy lets a receiver wait for longer than a round trip has ever taken.
func (f *fabric) resent() {
	f.Helper()
	for _, h := range f.hosts {
		for name, ns := range h.namespaces() {
			c := snmp(f, ns)
			if n := c["Tcp.RetransSegs"]; n > 0 {
				f.Logf("%s: %d segments sent again: %d probes, %d timeouts; %d were there already, says who got them", name, n,
					c["TcpExt.TCPLossProbes"], c["TcpExt.TCPTimeouts"], c["TcpExt.TCPDSACKRecv"]+c["TcpExt.TCPDSACKOfoRecv"])
			}
		}
	}
}

// handOver lets go of all data planes, and says where they are.
func (f *fabric) handOver() (dirs []string) {
	f.Helper()
	for _, h := range f.hosts {
		h.dp.Close()
		dirs = append(dirs, h.dp.Dir())
	}
	return dirs
}

// takeBack opens them again, and finds what there was.
func (f *fabric) takeBack(dirs []string) {
	f.Helper()
	for i, h := range f.hosts {
		var err error
		h.dp, err = in(h.ns, func() (*datapath.Datapath, error) { return datapath.Open(datapath.Config{Dir: dirs[i]}) })
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(h.dp.Close)
		for _, change := range h.set(h.state()) {
			if change.Verb != "update" {
				f.Errorf("%s: %v", h.name, change)
			}
		}
	}
}

// upgrades goes through the versions, killing each process when it has set
// all up.
func (f *fabric) upgrades(dirs []string, all bool) {
	f.Helper()
	versions := []version{{}, {Program: true}, {Layout: true}, {}}
	if all {
		versions = append(versions, version{Program: true, Layout: true}, version{MaxFDB: 500}, version{Layout: true}, version{Program: true}, version{})
	}
	for _, v := range versions {
		list, took := f.lives(dirs, v)
		f.Logf("%v, after %v", v, took.Round(time.Millisecond))
		for _, p := range list {
			p.kill()
		}
	}
}

// interruptions kills processes of changing versions at any moment of their
// lives, of which the last is left to finish.
func (f *fabric) interruptions(dirs []string) {
	f.Helper()
	list, whole := f.lives(dirs, version{Layout: true})
	n := 12
	if testing.Short() {
		n = 4
	}
	for i := range n {
		for _, p := range list {
			p.kill()
		}
		list = list[:0]
		v := version{Layout: i%2 == 0, MaxFDB: i % 3 * 1000}
		for i, h := range f.hosts {
			list = append(list, h.live(dirs[i], v))
		}
		time.Sleep(rand.N(whole)) // any moment is as good
	}
	for _, p := range list {
		p.kill()
	}
	list, _ = f.lives(dirs, version{})
	for _, p := range list {
		p.kill()
	}
	for _, dir := range dirs {
		if left, _ := filepath.Glob(filepath.Join(dir, "v*")); len(left) != 1 {
			f.Errorf("generations left: %v", left)
		}
	}
}

// Purge leaves nothing: no pin, no link, no map, no program and no filter,
// however they came to be attached.
func TestPurge(t *testing.T) {
	for _, clsact := range []bool{false, true} {
		t.Run(fmt.Sprint("clsact ", clsact), func(t *testing.T) {
			f := newFabric(t, 2, wire{xdp: true})
			a := f.hosts[0].container(place{vni: 100, n: 1, xdp: true})
			b := f.hosts[1].container(place{vni: 100, n: 2})
			dirs := f.handOver()
			objects := map[string]func() error{}
			for i, h := range f.hosts {
				d, err := in(h.ns, func() (*datapath.Datapath, error) {
					return datapath.Open(datapath.Config{Dir: dirs[i], Clsact: clsact})
				})
				if err != nil {
					t.Fatal(err)
				}
				h.dp = d
				h.set(h.state())
			}
			a.reaches(b)
			for i, h := range f.hosts {
				noteObjects(f, objects, dirs[i])
				h.dp.Close()
				if err := h.ns.Do(func() error { return datapath.Purge(dirs[i]) }); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(dirs[i]); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: %v", dirs[i], err)
				}
				if out := tcIn(t, h.ns, "qdisc show"); strings.Contains(out, "clsact") {
					t.Errorf("%s: left:\n%s", h.name, out)
				}
			}
			for name, open := range objects {
				f.eventually(name+" is gone", func() bool { return errors.Is(open(), os.ErrNotExist) })
			}
			t.Logf("%d objects", len(objects))
		})
	}
}

// tcIn runs a line of tc in a namespace.
func tcIn(t *testing.T, ns *veth.NS, line string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + path(ns), "tc"}, strings.Fields(line)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("tc %s: %v\n%s", line, err, out)
	}
	return string(out)
}

// noteObjects notes the kernel's objects that are pinned below a directory, and
// how to look for each.
func noteObjects(f *fabric, objects map[string]func() error, dir string) {
	f.Helper()
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if filepath.Base(filepath.Dir(path)) == "maps" {
			return noteMap(objects, path)
		}
		return noteLink(objects, path)
	})
	if err != nil {
		f.Fatal(err)
	}
}

func noteMap(objects map[string]func() error, path string) error {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	objects[fmt.Sprint("map ", id)] = func() error { return closed(ebpf.NewMapFromID(id)) }
	return nil
}

// noteLink notes a link and its program, or the program of a filter.
func noteLink(objects map[string]func() error, path string) error {
	var id ebpf.ProgramID
	if p, err := ebpf.LoadPinnedProgram(path, nil); err == nil {
		defer p.Close()
		info, err := p.Info()
		if err != nil {
			return err
		}
		id, _ = info.ID()
	} else {
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return err
		}
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			return err
		}
		id = info.Program
		objects[fmt.Sprint("link ", info.ID)] = func() error { return closed(link.NewFromID(info.ID)) }
	}
	objects[fmt.Sprint("program ", id)] = func() error { return closed(ebpf.NewProgramFromID(id)) }
	return nil
}

// closed only asks whether something can be had.
func closed(c io.Closer, err error) error {
	if err == nil {
		err = c.Close()
	}
	return err
}
