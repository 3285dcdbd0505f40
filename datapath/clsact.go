// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"

	"foundry/datapath/veth"
)

// A filter of clsact, for kernels without tcx, is no object that can be
// pinned: it stays until somebody takes it away. Its record is its program,
// pinned in links/ under the name of the hook and the program's number, which
// no other program gets as long as it is pinned. A filter is ours when there
// is a record of the program in it. The record of a new program comes before
// the filter, and that of the old one goes after it, so a filter is never
// without; what was interrupted is an update to be made.
type record struct {
	hook    string // its name
	ifindex int
	program int
}

// recordMark is between hook and program. bpffs takes no dots in names.
const recordMark = "-clsact-"

func recordOf(name string) (r record, err error) {
	hook, program, ok := strings.Cut(name, recordMark)
	if !ok {
		return r, fmt.Errorf("%s is not of a filter", name)
	}
	r.hook = hook
	if r.program, err = strconv.Atoi(program); err != nil {
		return r, err
	}
	r.ifindex, err = strconv.Atoi(hook[strings.LastIndexByte(hook, '-')+1:])
	return r, err
}

func isXDP(hook string) bool { return strings.HasPrefix(hook, "xdp_") }

// place is the first one of a device, under a number that is nobody's habit.
func place(ifindex int) veth.Filter {
	const handle = 0xf0
	return veth.Filter{Ifindex: ifindex, Priority: 1, Handle: handle, Name: "foundry"}
}

// detach empties the place if it has this program. Absent is success.
func (r record) detach() error {
	if id, err := place(r.ifindex).Program(); err != nil || id != r.program {
		return err
	}
	return place(r.ifindex).Detach()
}

// records are the files of a hook's filter, by their programs.
func (d *Datapath) records(h hook) (map[int]string, error) {
	files, err := filepath.Glob(d.path(h) + recordMark + "*")
	if err != nil {
		return nil, err
	}
	list := map[int]string{}
	for _, path := range files {
		r, err := recordOf(filepath.Base(path))
		if err != nil {
			return nil, fmt.Errorf("read record of a filter: %w", err)
		}
		list[r.program] = path
	}
	return list, nil
}

// filterVerb is linkVerb of a filter.
func (d *Datapath) filterVerb(h hook) (string, error) {
	have, err := place(h.ifindex).Program()
	if err != nil {
		return "", err
	}
	records, err := d.records(h)
	if err != nil {
		return "", err
	}
	mine, err := programID(d.program(h))
	switch {
	case err != nil:
		return "", err
	case have == 0:
		return "attach", nil
	case records[have] == "":
		return "", fmt.Errorf("attach %v: %v has program %d of somebody else: %w", h, place(h.ifindex), have, ErrConflict)
	case have != int(mine) || len(records) != 1:
		return "update", nil
	}
	return "", nil
}

func (d *Datapath) attachFilter(h hook) error {
	p := d.program(h)
	id, err := programID(p)
	if err != nil {
		return err
	}
	if err := veth.Clsact(h.ifindex); err != nil {
		return err
	}
	own := d.path(h) + recordMark + strconv.Itoa(int(id))
	if err := pinCopy(p, own); err != nil {
		return err
	}
	if err := place(h.ifindex).Attach(p.FD()); err != nil {
		return err
	}
	records, err := d.records(h)
	var errs []error
	for _, path := range records {
		if path != own {
			errs = append(errs, unpin(path))
		}
	}
	return errors.Join(append(errs, err)...)
}

// pinCopy pins a program without its knowing: it would take the file for its
// own, and the next pin of it for the file's new name.
func pinCopy(p *ebpf.Program, path string) error {
	c, err := p.Clone()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Pin(path); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
