// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/oci"
)

// TestFeatures: what is announced is taken by the parser, and what is not is
// refused.
func TestFeatures(t *testing.T) {
	f := supported()
	for _, tt := range []struct {
		name      string
		announced bool
		json      string
	}{
		{"user namespaces", slices.Contains(f.Linux.Namespaces, "user") && *f.Linux.MountExtensions.IDMap.Enabled,
			`"linux":{"namespaces":[{"type":"user"},{"type":"mount"}],"uidMappings":[{"containerID":0,"hostID":1000,"size":9}],
			"gidMappings":[{"containerID":0,"hostID":1000,"size":9}]},"mounts":[{"destination":"/x","type":"bind","source":"/x",
			"options":["bind"],"uidMappings":[{"containerID":0,"hostID":1000,"size":9}],
			"gidMappings":[{"containerID":0,"hostID":1000,"size":9}]}]`},
		{"time namespaces", slices.Contains(f.Linux.Namespaces, "time"),
			`"linux":{"namespaces":[{"type":"time"},{"type":"mount"}],"timeOffsets":{"monotonic":{"secs":9}}}`},
		{"intelRdt", *f.Linux.IntelRdt.Enabled, `"linux":{"namespaces":[{"type":"mount"}],"intelRdt":{"closID":"x"}}`},
		{"netDevices", *f.Linux.NetDevices.Enabled, `"linux":{"namespaces":[{"type":"mount"}],"netDevices":{"eth9":{}}}`},
		{"memoryPolicy", slices.Contains(f.Linux.MemoryPolicy.Modes, "MPOL_BIND"),
			`"linux":{"namespaces":[{"type":"mount"}],"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0"}}`},
		{"createContainer hooks", slices.Contains(f.Hooks, "createContainer"),
			`"linux":{"namespaces":[{"type":"mount"}]},"hooks":{"createContainer":[{"path":"/x"}],"startContainer":[{"path":"/x"}]}`},
	} {
		_, err := oci.Parse([]byte(`{"ociVersion":"` + f.OCIVersionMax + `","process":{"cwd":"/","args":["x"]},"root":{"path":"r"},` + tt.json + `}`))
		if got := err == nil; got != tt.announced {
			t.Errorf("%s: announced %v, and the parser says %v", tt.name, tt.announced, err)
		}
	}
	if len(f.Linux.Seccomp.Actions) != len(actions) || !slices.Contains(f.Linux.Seccomp.Archs, string(specs.ArchX86_64)) {
		t.Errorf("seccomp: got %+v", f.Linux.Seccomp)
	}
}
