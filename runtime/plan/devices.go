// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// defaultDevices are there in every container, unless the spec has a device
// of the same path.
var defaultDevices = []specs.LinuxDevice{
	{Path: "/dev/null", Type: "c", Major: 1, Minor: 3},
	{Path: "/dev/random", Type: "c", Major: 1, Minor: 8},
	{Path: "/dev/full", Type: "c", Major: 1, Minor: 7},
	{Path: "/dev/tty", Type: "c", Major: 5, Minor: 0},
	{Path: "/dev/zero", Type: "c", Major: 1, Minor: 5},
	{Path: "/dev/urandom", Type: "c", Major: 1, Minor: 9},
}

const defaultDeviceMode = 0o666

// devices makes the nodes and links of /dev. A bind mount there brings its
// own, and belongs to somebody else.
func (b *builder) devices() {
	for _, m := range b.spec.Mounts {
		if inRoot(m.Destination) == "/dev" && oci.IsBind(m) {
			return
		}
	}
	named := make(map[string]bool, len(b.spec.Linux.Devices))
	for _, d := range b.spec.Linux.Devices {
		named[inRoot(d.Path)] = true
	}
	for _, d := range defaultDevices {
		if !named[d.Path] {
			b.device("", d)
		}
	}
	for i, d := range b.spec.Linux.Devices {
		b.device(fmt.Sprintf("linux.devices[%d]", i), d)
	}
	b.deviceLinks()
}

func (b *builder) device(at string, d specs.LinuxDevice) {
	p := inRoot(d.Path)
	if p == "/dev/ptmx" {
		return // a link into the container's own devpts
	}
	s := Step{Op: OpMknod, A: defaultDeviceMode, B: makedev(d.Major, d.Minor), S: [4]string{2: p}}
	if d.FileMode != nil {
		s.A = uint64(*d.FileMode) &^ modeType & 0xffff
	}
	switch d.Type {
	case "c", "u":
		s.A |= modeChar
	case "b":
		s.A |= modeBlock
	case "p":
		s.A |= modeFifo
		s.B = 0
	default:
		b.fail(invalid(at+".type", "%q is none of c, b, u and p", d.Type))
		return
	}
	if d.Type != "p" {
		s.Flags, s.S[1] = FlagBindDev, p
	}
	var uid, gid uint32
	if d.UID != nil {
		uid = *d.UID
	}
	if d.GID != nil {
		gid = *d.GID
	}
	s.C = uint64(uid)<<32 | uint64(gid)
	b.add(s)
}

func (b *builder) deviceLinks() {
	links := [][2]string{
		{"pts/ptmx", "/dev/ptmx"},
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
	}
	if b.facts.KCore {
		links = append(links, [2]string{"/proc/kcore", "/dev/core"})
	}
	for _, l := range links {
		b.add(Step{Op: OpSymlink, S: [4]string{l[0], "", l[1]}})
	}
}
