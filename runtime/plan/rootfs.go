// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hostOptions are the option words of a Create request that are flags of
// mount(2); the others are data. They are fewer than those of a spec.
var hostOptions = map[string]struct {
	flag  uint64
	clear bool
}{
	"async": {msSynchronous, true}, "sync": {msSynchronous, false},
	"atime": {msNoatime, true}, "noatime": {msNoatime, false},
	"bind": {msBind, false}, "rbind": {msBind | msRec, false},
	"defaults": {0, false},
	"dev":      {msNodev, true}, "nodev": {msNodev, false},
	"diratime": {msNodiratime, true}, "nodiratime": {msNodiratime, false},
	"dirsync": {msDirsync, false},
	"exec":    {msNoexec, true}, "noexec": {msNoexec, false},
	"lazytime": {msLazytime, false}, "nolazytime": {msLazytime, true},
	"mand": {msMandlock, false}, "nomand": {msMandlock, true},
	"nosymfollow": {msNosymfollow, false}, "symfollow": {msNosymfollow, true},
	"relatime": {msRelatime, false}, "norelatime": {msRelatime, true},
	"ro": {msRdonly, false}, "rw": {msRdonly, true},
	"strictatime": {msStrictatime, false}, "nostrictatime": {msStrictatime, true},
	"suid": {msNosuid, true}, "nosuid": {msNosuid, false},
	"private": {msPrivate, false}, "rprivate": {msPrivate | msRec, false},
	"slave": {msSlave, false}, "rslave": {msSlave | msRec, false},
	"shared": {msShared, false}, "rshared": {msShared | msRec, false},
	"unbindable": {msUnbindable, false}, "runbindable": {msUnbindable | msRec, false},
}

// mountRootfs makes the mounts of the Create request that are the root itself.
func (b *builder) mountRootfs() {
	for i, m := range b.facts.RootfsMounts {
		at := fmt.Sprintf("rootfs[%d]", i)
		if err := refuseRootfsMount(at, m); err != nil {
			b.fail(err)
			return
		}
		if inRoot(m.Target) == "/" {
			b.mountHost(at, m)
		}
	}
}

// mountTargets makes those below the root, after it is there: from then on a
// step resolves their targets inside of it, whatever links an image has.
func (b *builder) mountTargets() {
	for i, m := range b.facts.RootfsMounts {
		if inRoot(m.Target) == "/" {
			continue
		}
		at := fmt.Sprintf("rootfs[%d]", i)
		maps, options, err := hostMaps(at, withoutInternal(m.Options))
		if err != nil {
			b.fail(err)
			return
		}
		o := parseOptions(options)
		sm := specs.Mount{Destination: m.Target, Type: m.Type, Source: m.Source, Options: m.Options}
		switch bind := oci.IsBind(sm); {
		case bind:
			o.idmapRec = true
			if maps.uids != nil {
				b.idmapped++
			}
			b.bind(bindMount{
				at: at, source: b.hostPath(m.Source), dest: inRoot(m.Target), options: o,
				idmapped: maps.uids != nil, uids: maps.uids, gids: maps.gids,
			})
		case maps.uids != nil:
			b.fail(&oci.UnsupportedError{Path: at + ".options", What: `"uidmap" below the root, on what is no bind mount, is`})
		default:
			b.mount(at, sm, o)
		}
	}
}

// refuseRootfsMount names what containerd's own mount code would do with
// helpers that we do not have.
func refuseRootfsMount(at string, m Mount) error {
	if strings.HasPrefix(m.Type, "fuse.") || strings.HasPrefix(m.Type, "fuse3.") {
		return &oci.UnsupportedError{
			Path: at + ".type", What: fmt.Sprintf("%q is", m.Type),
			Why: "it takes a program of the host to mount it",
		}
	}
	if m.Type == "" && !oci.IsBind(specs.Mount{Options: m.Options}) {
		return invalid(at+".type", "missing")
	}
	for i, o := range m.Options {
		if o == "remount" {
			return &oci.UnsupportedError{Path: fmt.Sprintf("%s.options[%d]", at, i), What: fmt.Sprintf("%q is", o)}
		}
	}
	return nil
}

// withoutInternal drops the options that containerd keeps for itself.
func withoutInternal(options []string) []string {
	kept := make([]string, 0, len(options))
	for _, o := range options {
		if !strings.HasPrefix(o, "X-containerd.") {
			kept = append(kept, o)
		}
	}
	return kept
}

// mountHost mounts with mount(2). The stage knows its two peculiarities: a bind
// takes other flags in a second call, and lower directories that are too many
// for one page of data are named from the directory that they share.
func (b *builder) mountHost(at string, m Mount) {
	maps, options, err := hostMaps(at, withoutInternal(m.Options))
	if err != nil {
		b.fail(err)
		return
	}
	var flags uint64
	var step uint16
	var data []string
	for _, o := range options {
		switch known, found := hostOptions[o]; {
		case o == "loop":
			step = FlagLoop
		case !found && o != "":
			data = append(data, o)
		case known.clear:
			flags &^= known.flag
		default:
			flags |= known.flag
		}
	}
	if step == FlagLoop {
		data = slices.DeleteFunc(data, func(o string) bool { return o == "direct-io" }) // how the device reads, a hint
	}
	rec := flags & msRec
	propagation := flags & msPropagation
	flags &^= msPropagation
	if flags&msBind == 0 {
		flags &^= msRec
	}
	mount := Step{Op: OpMountHost, Flags: step, A: flags, S: [4]string{m.Type, m.Source, b.facts.Rootfs, strings.Join(data, ",")}}
	b.mountMapped(m.Type, maps, mount)
	if propagation != 0 {
		b.add(Step{Op: OpMountHost, A: propagation | rec, S: [4]string{2: b.facts.Rootfs}})
	}
}
