// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/plan"
)

func TestMountsBlockDevice(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rootfs []plan.Mount
		mounts []specs.Mount
		want   bool
	}{
		{name: "nothing"},
		{name: "usual", rootfs: []plan.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/x"}}},
			mounts: []specs.Mount{{Type: "proc", Source: "proc"}, {Type: "bind", Source: "/x"}, {Source: "/x", Options: []string{"rbind"}}}},
		{name: "bound root", rootfs: []plan.Mount{{Type: "bind", Source: "/x", Options: []string{"rbind"}}}},
		{name: "device", rootfs: []plan.Mount{{Type: "ext4", Source: "/dev/mapper/x"}}, want: true},
		{name: "file", rootfs: []plan.Mount{{Type: "ext4", Source: "/x.img", Options: []string{"loop"}}}, want: true},
		{name: "volume", mounts: []specs.Mount{{Type: "xfs", Source: "/dev/sdb"}}, want: true},
	} {
		if got := mountsBlockDevice(&specs.Spec{Mounts: tt.mounts}, tt.rootfs); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}
