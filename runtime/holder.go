// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"

	"foundry/runtime/cgroup"
	"foundry/runtime/journal"
	"foundry/runtime/plan"
	"foundry/runtime/spawn"
)

// holderKey is that of the holder, counted from the container's first: init
// has the first, and the last is not given out again so soon.
const holderKey = journal.KeySpan - 1

// hold starts the process that systemd wants in a scope before init is born
// there: a stage that never gets past its first step. Its key is one of the
// container's, so that Reclaim finds it when the server dies meanwhile.
func (c *Container) hold() (cgroup.Holder, error) {
	r := c.rt
	child := r.router.expect(c.keys.first + holderKey)
	if child == nil {
		return cgroup.Holder{}, fmt.Errorf("there is one already")
	}
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	p := plan.NewHelper(plan.Helper{Path: "/nowhere"})
	p.Steps = append([]plan.Step{{Op: plan.OpReady}}, p.Steps...)
	files, opened, err := sources{}.open(p)
	if err != nil {
		r.router.forget(child)
		return cgroup.Holder{}, err
	}
	defer closeAll(opened)
	proc, err := r.start(ctx, launch{child: child, plan: p, files: files, helper: true})
	if err != nil {
		return cgroup.Holder{}, err
	}
	release := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
		defer cancel()
		return r.discard(ctx, proc)
	}
	point, err := proc.proc.Sync(ctx)
	if err == nil && point != spawn.PointReady {
		err = fmt.Errorf("it did not wait")
	}
	if err != nil {
		return cgroup.Holder{}, errors.Join(err, release())
	}
	return cgroup.Holder{Pid: proc.Pid(), Release: release}, nil
}
