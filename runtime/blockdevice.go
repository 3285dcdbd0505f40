// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/oci"
	"foundry/runtime/plan"
)

// mountsBlockDevice says whether the stage opens a block device, or makes one
// of a file, for a mount. The rules of linux.resources.devices are for the
// container's program and would refuse that to the stage, which is in the
// container's cgroup by then (the kernel asks them for mounts as well), so such
// a container gets them when its mounts are made.
func mountsBlockDevice(spec *specs.Spec, rootfs []plan.Mount) bool {
	for _, m := range rootfs {
		if onBlockDevice(m.Source, m.Options) && m.Type != "bind" {
			return true
		}
	}
	return slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
		return onBlockDevice(m.Source, m.Options) && !oci.IsBind(m)
	})
}

// onBlockDevice: most pseudo file systems have a word for a source.
func onBlockDevice(source string, options []string) bool {
	return strings.HasPrefix(source, "/") || slices.Contains(options, "loop")
}

// anyDevice is r with all devices allowed; no rules at all would be a few.
func anyDevice(r *specs.LinuxResources) *specs.LinuxResources {
	open := specs.LinuxResources{}
	if r != nil {
		open = *r
	}
	open.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	return &open
}

// limitDevices sets the rules that makeCgroup has left out.
func (c *Container) limitDevices() error {
	if !c.lateDevices {
		return nil
	}
	var rules []specs.LinuxDeviceCgroup
	if c.spec.Linux != nil && c.spec.Linux.Resources != nil {
		rules = c.spec.Linux.Resources.Devices
	}
	if len(rules) == 0 {
		rules = []specs.LinuxDeviceCgroup{{Access: "rwm"}} // what a group without rules begins with
	}
	return c.group.Update(&specs.LinuxResources{Devices: rules})
}
