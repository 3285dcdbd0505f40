// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf"

	"foundry/datapath/veth"
)

// Whoever attaches a link of tcx waits for an RCU grace period, and holds the
// lock of all devices meanwhile: that takes many times as long as all else
// that an endpoint needs. A filter of clsact is there at once. So an endpoint
// that is added to others begins with a filter, and when no more are coming it
// is given a link; as tcx goes first, the filter then has nothing to do, and
// is taken off. No frame is ever without a program. The filter has its record
// (clsact.go), so that the next start finishes what a killed process has left.
type early struct {
	wanted bool            // a call is under way that nobody should have to wait for
	hooks  map[string]hook // that have a filter, by their names
	ns     *veth.NS        // that the numbers of their devices are of; nil without hooks
	timer  *time.Timer     // ends with the last of them
	last   time.Time       // when the last was added
	closed bool
}

// quiet is how long nobody comes before links take the place of filters.
const quiet = 500 * time.Millisecond

// attachEarly says whether a filter has been attached in place of a link.
func (d *Datapath) attachEarly(h hook) bool {
	if !d.early.wanted || h.program != "tc_endpoint" {
		return false
	}
	if d.early.ns == nil {
		ns, err := veth.ThreadNS()
		if err != nil {
			return false
		}
		d.early.ns, d.early.hooks = ns, map[string]hook{}
	}
	if d.newFilter(h) != nil {
		return false
	}
	d.early.hooks[h.String()], d.early.last = h, time.Now()
	if d.early.timer == nil {
		d.early.timer = time.AfterFunc(quiet, d.promote)
	}
	return true
}

// newFilter is attachFilter on a device that nothing of ours is on, whose
// place is therefore empty: nothing is looked for.
func (d *Datapath) newFilter(h hook) error {
	p := d.program(h)
	id, err := programID(p)
	if err != nil {
		return err
	}
	if err := veth.Clsact(h.ifindex); err != nil {
		return err
	}
	record := d.path(h) + recordMark + strconv.Itoa(int(id))
	if err := pinCopy(p, record); err != nil {
		return err
	}
	if err := place(h.ifindex).Attach(p.FD()); err != nil {
		return errors.Join(err, unpin(record))
	}
	return nil
}

// promote gives links to all hooks that have filters, one after the other.
func (d *Datapath) promote() {
	for d.promoteOne() {
	}
}

// promoteOne returns false when there is nothing more to do for now.
func (d *Datapath) promoteOne() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.early.closed {
		return false
	}
	if wait := quiet - time.Since(d.early.last); wait > 0 {
		d.early.timer.Reset(wait)
		return false
	}
	for name, h := range d.early.hooks {
		delete(d.early.hooks, name)
		// Without a link the filter goes on, and the next Set sees to it.
		_ = d.early.ns.Do(func() error { return d.promoteLocked(h) })
		return true
	}
	d.early.timer = nil
	d.early.forget()
	return false
}

// forget: nobody has to be promoted.
func (e *early) forget() {
	if e.ns != nil {
		e.ns.Close()
	}
	e.ns, e.hooks = nil, nil
}

// promoteLocked is about a hook that may have been left meanwhile.
func (d *Datapath) promoteLocked(h hook) error {
	records, err := d.records(h)
	if err != nil || len(records) == 0 {
		return err
	}
	l, err := d.newLink(h)
	if err != nil {
		return fmt.Errorf("attach %v: %w", h, err)
	}
	defer l.Close()
	if err := l.Pin(d.path(h)); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("attach %v: %w", h, err)
	}
	var errs []error
	for _, path := range records {
		errs = append(errs, detachAt(path))
	}
	return errors.Join(errs...)
}

// isEarly: the hook has a filter, although there is tcx.
func (d *Datapath) isEarly(name string) bool {
	_, has := d.early.hooks[name]
	return has
}

// filters says whether a hook is a filter of clsact.
func (d *Datapath) filters(h hook) bool {
	return d.program(h).Type() != ebpf.XDP && (d.clsact || d.isEarly(h.String()))
}
