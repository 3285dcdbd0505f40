// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// pinSteps put back what somebody has taken out of the directory, or the
// bpffs away from under it. Of maps we hold descriptors. Links are in the
// directory only, which we hold open: as long as we do a bpffs that was
// unmounted is there, with all that is attached, and they are had from it.
func (d *Datapath) pinSteps() (steps []step, err error) {
	same, err := isAt(d.lock, d.dir)
	if err != nil {
		return nil, err
	}
	if !same {
		steps = append(steps, pinStep("instance", d.dir, d.moveIn))
	}
	links := filepath.Join(d.dir, linksDir)
	if _, err := os.Stat(links); errors.Is(err, os.ErrNotExist) {
		steps = append(steps, pinStep("directory", linksDir, func() error { return os.MkdirAll(links, 0o700) }))
	}
	all := maps.Clone(d.tc.Maps)
	maps.Copy(all, d.xdp.Maps)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := filepath.Join(d.maps, name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			steps = append(steps, pinStep("map", name, func() error { return pinMap(all[name], path) }))
		} else if err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func pinStep(object, name string, do func() error) step {
	return step{verb: "pin", object: object, n: 1, key: func(int) string { return name }, do: func() (int, error) {
		if err := do(); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		return 1, nil
	}}
}

// moveIn locks the directory that is now where ours was, and takes the links
// along.
func (d *Datapath) moveIn() error {
	lock, err := lockDir(d.dir)
	if err != nil {
		return err
	}
	old := d.lock
	defer old.Close()
	d.lock = lock
	to := filepath.Join(d.dir, linksDir)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	from := fmt.Sprintf("/proc/self/fd/%d/%s", old.Fd(), linksDir)
	files, err := os.ReadDir(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed, not unmounted
	} else if err != nil {
		return err
	}
	for _, f := range files {
		if err := pinAgain(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// pinAgain pins a link, or the program that stands for a filter.
func pinAgain(from, to string) error {
	if _, err := recordOf(filepath.Base(from)); err == nil {
		p, err := ebpf.LoadPinnedProgram(from, nil)
		if err != nil {
			return err
		}
		defer p.Close()
		return pinCopy(p, to)
	}
	l, err := link.LoadPinnedLink(from, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return err
	}
	again, err := link.NewFromID(info.ID) // that does not know of a file which Pin would move
	if err != nil {
		return err
	}
	defer again.Close()
	return again.Pin(to)
}

func pinMap(m *ebpf.Map, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	c, err := m.Clone() // of its own: m thinks that it is pinned
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Pin(path)
}
