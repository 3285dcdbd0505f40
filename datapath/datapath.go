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
	"golang.org/x/sys/unix"

	"foundry/bpf"
)

// Config says where the data plane is. Dir is a directory of its own, on a
// bpffs.
type Config struct {
	Dir    string
	MaxFDB int  // entries of the FDB; 0: 65536. There is room for four times as many addresses.
	Clsact bool // attach by clsact where the kernel has tcx too, as it is done where it has not

	// Edit is given the programs before they are loaded. Tests make another
	// version of them.
	Edit func(*ebpf.CollectionSpec)
}

// Datapath is the data plane of one instance. Its methods may be called at
// once by several goroutines; they wait for each other.
type Datapath struct {
	dir, maps string   // maps is where those of the generation are pinned
	lock      *os.File // dir
	clsact    bool     // no tcx: see clsact.go
	tc, xdp   *ebpf.Collection
	drops     feed

	mu      sync.Mutex // maps and links are read and written by one call at a time
	schema  schema
	inForce *index // nil: not known
	early   early
}

// Where links are pinned, which outlive the generations of maps, and where in
// a generation its maps are.
const (
	linksDir = "links"
	mapsDir  = "maps"
)

// Open loads the programs onto the maps that are pinned in c.Dir, or onto new
// ones. Programs that are attached there stay as they are until the next Set.
// An instance is open once: the second gets ErrLocked.
func Open(c Config) (*Datapath, error) {
	lock, err := lockDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open data plane: %w", err)
	}
	d := &Datapath{dir: c.Dir, lock: lock}
	if err := d.load(c); err != nil {
		d.Close()
		return nil, fmt.Errorf("open data plane: %w", err)
	}
	d.schema = newSchema(d.tc.Maps)
	d.clsact = c.Clsact || !hasTCX(d.tc.Programs["tc_endpoint"])
	return d, nil
}

func (d *Datapath) load(c Config) error {
	tc, err := c.spec(bpf.LoadTC)
	if err != nil {
		return err
	}
	xdp, err := c.spec(bpf.LoadXDP)
	if err != nil {
		return err
	}
	d.maps = filepath.Join(c.Dir, generation(tc, xdp), mapsDir)
	for _, dir := range []string{d.maps, filepath.Join(c.Dir, linksDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := d.inherit(tc); err != nil {
		return err
	}
	options := ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: d.maps}}
	if d.tc, err = ebpf.NewCollectionWithOptions(tc, options); err != nil {
		return fmt.Errorf("load programs of tc: %w", err)
	}
	if d.xdp, err = ebpf.NewCollectionWithOptions(xdp, options); err != nil {
		return fmt.Errorf("load programs of XDP: %w", err)
	}
	return nil
}

// spec is what is loaded.
func (c Config) spec(read func() (*ebpf.CollectionSpec, error)) (*ebpf.CollectionSpec, error) {
	spec, err := read()
	if err != nil {
		return nil, err
	}
	size := uint32(cmp.Or(c.MaxFDB, 65536))
	spec.Maps["fdb"].MaxEntries, spec.Maps["neigh"].MaxEntries = size, 4*size
	if c.Edit != nil {
		c.Edit(spec)
	}
	for _, m := range spec.Maps {
		m.Pinning = ebpf.PinByName
	}
	return spec, nil
}

// Close lets go of maps, programs and the lock. What is pinned goes on
// forwarding.
func (d *Datapath) Close() {
	d.drops.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range []*ebpf.Collection{d.tc, d.xdp} {
		if c != nil {
			c.Close()
		}
	}
	d.inForce, d.early.closed = nil, true
	d.early.forget()
	d.lock.Close()
}

// Purge removes the instance in dir: links first, so that no program runs on
// maps that are going. What else is in dir stays, and dir with it. Absent is
// success. While another process has the instance open it is ErrLocked.
func Purge(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	switch {
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, errOurselves):
		return fmt.Errorf("purge data plane: %w", err)
	}
	links, err := filepath.Glob(filepath.Join(dir, linksDir, "*"))
	if err != nil {
		return fmt.Errorf("purge %s: %w", dir, err)
	}
	var errs []error
	for _, path := range links {
		errs = append(errs, detachAt(path))
	}
	files, err := os.ReadDir(dir)
	errs = append(errs, err)
	for _, f := range files {
		if f.Name() == linksDir || isGeneration(f.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	if err := os.Remove(dir); !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
	pins, err := d.pinSteps()
	if err != nil {
		return nil, err
	}
	steps, _, err := d.diffLocked(s)
	return changes(append(pins, steps...)), err
}

// Set makes maps and links equal to s and returns what it had to change, which
// is nothing when s is in force. A State that contradicts itself changes
// nothing. After an error of the kernel what is returned was done, and the
// rest is to be had by another Set.
func (d *Datapath) Set(s State) ([]Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	pins, err := d.pinSteps()
	if err != nil {
		return nil, err
	}
	pinned, _, err := apply(pins)
	if err != nil {
		return pinned, err
	}
	steps, commit, err := d.diffLocked(s)
	if err != nil {
		return pinned, err
	}
	done, _, err := apply(steps)
	done = append(pinned, done...)
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
