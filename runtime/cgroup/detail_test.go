// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A group that burns its quota waits for the processor, and says how long.
func TestDetail(t *testing.T) {
	info := hostInfo(t)
	r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(2000)), Period: ptr(uint64(20000))}}
	if info.Unified {
		r.Unified = map[string]string{"memory.high": "67108864", "memory.low": "1048576", "memory.min": "4096"}
	}
	g := create(t, info, groupPath(t, info), r)
	if !exists("/proc/pressure") || g.v2 == "" {
		t.Skip("this kernel measures no pressure")
	}
	run(t, g, "echo ready; while :; do :; done & while :; do :; done")
	eventually(t, "somebody waits for the processor", func() bool {
		d, err := g.Detail()
		if err != nil {
			t.Fatal(err)
		}
		return d.CPU != nil && d.CPU.Some != nil && d.CPU.Some.Total > 0
	})
	d, err := g.Detail()
	if err != nil {
		t.Fatal(err)
	}
	if d.Memory == nil || d.Memory.Full == nil || d.IO == nil || d.IO.Some == nil {
		t.Errorf("pressure of memory %v, of io %v", d.Memory, d.IO)
	}
	if info.Unified && (d.High != 67108864 || d.Low != 1048576 || d.Min != 4096) {
		t.Errorf("high, low, min = %d, %d, %d", d.High, d.Low, d.Min)
	}
	if err := errors.Join(g.Kill(within(t, 10*time.Second)), g.Remove()); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Detail(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Detail of a group that is gone: %v", err)
	}
}
