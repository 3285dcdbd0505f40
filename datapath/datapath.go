// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/cilium/ebpf"

	"foundry/bpf"
)

// Config says where the data plane is. Dir is a directory of its own, on a
// bpffs.
type Config struct {
	Dir    string
	MaxFDB int  // entries of the FDB; 0: 65536. There is room for four times as many addresses.
	Clsact bool // attach by clsact where the kernel has tcx too, as it is done where it has not
}

// Datapath is the data plane of one instance. Its methods may be called at
// once by several goroutines; they wait for each other.
type Datapath struct {
	dir     string
	maxFDB  int
	clsact  bool // no tcx: see clsact.go
	tc, xdp *ebpf.Collection
	drops   feed

	mu      sync.Mutex // maps and links are read and written by one call at a time
	schema  schema
	inForce *index // nil: not known
}

// Open loads the programs onto the maps that are pinned in c.Dir, or onto new
// ones. Programs that are attached there stay as they are until the next Set.
func Open(c Config) (*Datapath, error) {
	// The generation is part of the path: maps of another layout are other maps.
	d := &Datapath{dir: filepath.Join(c.Dir, fmt.Sprintf("v%d", bpf.ABI)), maxFDB: cmp.Or(c.MaxFDB, 65536)}
	for _, sub := range []string{"maps", "links"} {
		if err := os.MkdirAll(filepath.Join(d.dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open data plane: %w", err)
		}
	}
	var err error
	if d.tc, err = d.load(bpf.LoadTC); err != nil {
		return nil, fmt.Errorf("load programs of tc: %w", err)
	}
	if d.xdp, err = d.load(bpf.LoadXDP); err != nil {
		d.tc.Close()
		return nil, fmt.Errorf("load programs of XDP: %w", err)
	}
	d.schema = newSchema(d.tc.Maps)
	d.clsact = c.Clsact || !hasTCX(d.tc.Programs["tc_endpoint"])
	return d, nil
}

func (d *Datapath) load(read func() (*ebpf.CollectionSpec, error)) (*ebpf.Collection, error) {
	spec, err := read()
	if err != nil {
		return nil, err
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinByName
	}
	spec.Maps["fdb"].MaxEntries, spec.Maps["neigh"].MaxEntries = uint32(d.maxFDB), uint32(4*d.maxFDB)
	options := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: filepath.Join(d.dir, "maps")}}
	return ebpf.NewCollectionWithOptions(spec, options)
}

// Close lets go of maps and programs. What is pinned goes on forwarding.
func (d *Datapath) Close() {
	d.drops.close()
	d.tc.Close()
	d.xdp.Close()
}

// Purge removes everything below dir: links first, so that no program runs on
// maps that are going. Absent is success.
func Purge(dir string) error {
	links, err := filepath.Glob(filepath.Join(dir, "v*", "links", "*"))
	if err != nil {
		return fmt.Errorf("purge %s: %w", dir, err)
	}
	var errs []error
	for _, path := range links {
		errs = append(errs, detachAt(path))
	}
	return errors.Join(append(errs, os.RemoveAll(dir))...)
}

// large is a State whose comparison leaves much behind for the collector.
const large = 100_000

// vtepIDs are the numbers that VTEPs have in the maps.
func (d *Datapath) vtepIDs() (map[bpf.VtepKey]uint32, error) {
	ids := map[bpf.VtepKey]uint32{}
	err := d.schema.vtepByIP.rows.each(func(k bpf.VtepKey, id uint32) { ids[k] = id })
	return ids, err
}

// Diff says what Set would change, and changes nothing.
func (d *Datapath) Diff(s State) ([]Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	steps, _, err := d.diffLocked(s)
	return changes(steps), err
}

// Set makes maps and links equal to s and returns what it had to change, which
// is nothing when s is in force. A State that contradicts itself changes
// nothing. After an error of the kernel what is returned was done, and the
// rest is to be had by another Set.
func (d *Datapath) Set(s State) ([]Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	steps, commit, err := d.diffLocked(s)
	if err != nil {
		return nil, err
	}
	done, _, err := apply(steps)
	if err != nil {
		d.inForce = nil
		return done, err
	}
	commit()
	if len(s.Remotes) > large {
		debug.FreeOSMemory() // which a comparison of everything takes some hundred bytes a remote of
	}
	return done, nil
}
