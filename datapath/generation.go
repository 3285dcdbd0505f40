// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"

	"foundry/bpf"
)

// A generation is a set of maps of one schema, pinned in a directory that is
// named after it. Programs of another schema get other maps, beside those in
// force; Set fills them, exchanges the programs of all links, one by one and
// each in place, and then removes the generations that no program uses any
// more. Both sets have the same contents meanwhile, so a frame may be seen by
// an old program and by a new one.
//
// There is no note of how far this has come: whoever is interrupted leaves
// nothing that the next Set, of whichever schema, does not bring to its own
// end, be it forward or back.
const generationPrefix = "v"

// generation names the schema of some programs: what two of the same name
// have in their maps means the same and lies at the same place.
func generation(specs ...*ebpf.CollectionSpec) string {
	h := fnv.New32a()
	all := map[string]*ebpf.MapSpec{}
	for _, s := range specs {
		maps.Copy(all, s.Maps)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for m := all[name]; m != nil; m = m.InnerMap {
			fmt.Fprintln(h, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		}
	}
	return fmt.Sprintf("%s%d-%08x", generationPrefix, bpf.ABI, h.Sum32())
}

// isGeneration tells our directories from what somebody else put beside them.
func isGeneration(name string) bool {
	var abi, hash uint32
	_, err := fmt.Sscanf(name, generationPrefix+"%d-%08x", &abi, &hash)
	return err == nil && name == fmt.Sprintf("%s%d-%08x", generationPrefix, abi, hash)
}

// others are the generations besides this one.
func (d *Datapath) others() (list []string, err error) {
	files, err := os.ReadDir(d.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	for _, f := range files {
		if name := f.Name(); isGeneration(name) && name != filepath.Base(filepath.Dir(d.maps)) {
			list = append(list, name)
		}
	}
	return list, nil
}

// kept are the maps that a generation takes over from another, the maps
// themselves: what is counted goes on where it was, by old programs and new
// ones at once, and not one packet is forgotten.
func kept() []string { return []string{"stats_ep", "stats_port", "stats_total"} }

// inherit takes them over where their layout is the same. Where it is not,
// counters begin at zero.
func (d *Datapath) inherit(spec *ebpf.CollectionSpec) error {
	others, err := d.others()
	if err != nil {
		return err
	}
	for _, name := range kept() {
		for _, other := range others {
			from, to := filepath.Join(d.dir, other, mapsDir, name), filepath.Join(d.maps, name)
			m, err := ebpf.LoadPinnedMap(from, nil)
			if errors.Is(err, os.ErrNotExist) {
				continue
			} else if err != nil {
				return fmt.Errorf("take over %s: %w", from, err)
			}
			if spec.Maps[name].Compatible(m) == nil {
				err = os.Link(from, to)
			}
			m.Close()
			if err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("take over %s: %w", name, err)
			}
		}
	}
	return nil
}

// retireSteps remove the other generations. It is the last that a Set does.
func (d *Datapath) retireSteps() (steps []step, err error) {
	others, err := d.others()
	if err != nil {
		return nil, err
	}
	for _, name := range others {
		steps = append(steps, step{verb: "delete", object: "generation", n: 1, key: func(int) string { return name },
			do: func() (int, error) {
				if err := os.RemoveAll(filepath.Join(d.dir, name)); err != nil {
					return 0, err
				}
				return 1, nil
			}})
	}
	return steps, nil
}
