// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNotSet is what Update says when it does not know what is in force: before
// the first Set, and after a call that ended half way and could not be undone.
var ErrNotSet = errors.New("not known what is in force: call Set first")

// Update changes what is in force by delta and returns what it had to change.
// Its work is that of the delta, whatever there is besides. All of it is
// checked before anything is written, and after an error nothing of it stays.
func (d *Datapath) Update(delta Delta) ([]Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inForce == nil {
		return nil, fmt.Errorf("update data plane: %w", ErrNotSet)
	}
	draft := d.schema.over(d.inForce)
	if err := draft.finish(delta); err != nil {
		draft.takeBack()
		return nil, err
	}
	steps, commit, err := d.stepsLocked(draft)
	if err != nil {
		draft.takeBack()
		return nil, err
	}
	d.early.wanted = true
	done, begun, err := apply(steps)
	d.early.wanted = false
	if err == nil {
		commit()
		return done, nil
	}
	draft.takeBack()
	if undo := revert(steps[:begun]); undo != nil {
		d.inForce = nil
		return done, errors.Join(err, undo, ErrNotSet)
	}
	return nil, err
}

// diffLocked compares everything with what s wants.
func (d *Datapath) diffLocked(s State) ([]step, func(), error) {
	ids, err := d.vtepIDs()
	if err != nil {
		return nil, nil, err
	}
	draft, err := compile(s, ids)
	if err != nil {
		return nil, nil, err
	}
	steps, commit, err := d.stepsLocked(draft)
	return steps, func() {
		commit()
		d.inForce = draft.index
	}, err
}

// stepsLocked compares a draft with maps and links. What is added comes in the
// order in which a frame needs it last: an endpoint is there when all that it
// can reach is. What is removed goes the other way round.
func (d *Datapath) stepsLocked(want *draft) (steps []step, commit func(), err error) {
	c := d.schema.compare(want)
	if c.err != nil {
		return nil, nil, c.err
	}
	attach, detach, err := d.linkSteps(want)
	if err != nil {
		return nil, nil, err
	}
	forget, err := d.forgetSteps(want)
	if err != nil {
		return nil, nil, err
	}
	var retire []step
	if want.whole {
		if retire, err = d.retireSteps(); err != nil {
			return nil, nil, err
		}
	}
	slices.Reverse(c.deletes)
	return slices.Concat(c.early, c.puts, attach, c.deletes, detach, forget, retire), func() {
		for _, fn := range c.commit {
			fn()
		}
	}, nil
}
