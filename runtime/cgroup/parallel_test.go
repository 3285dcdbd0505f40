// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// Many containers come and go below one parent that does not exist at first.
func TestParallel(t *testing.T) {
	info := hostInfo(t)
	base := groupPath(t, info)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for round := range 10 {
				g, err := Create(Config{Info: info, Path: base + "/ns/" + itoa(n), Resources: someLimits()})
				if err != nil {
					t.Error(err)
					return
				}
				_, statErr := g.Stats()
				err = errors.Join(statErr, g.Update(someLimits()), g.Freeze(within(t, 10*time.Second)), g.Thaw(), g.Kill(within(t, time.Second)), g.Remove())
				if err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			}
		})
	}
	wg.Wait()
	top, err := Open(info, base)
	if err != nil {
		t.Fatal(err)
	}
	if err := top.Remove(); err != nil {
		t.Error(err)
	}
}
