// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"sort"
	"strconv"
	"strings"

	"foundry/runtime/oci"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// idMaps are what the options uidmap and gidmap of a Create request say. Both
// are there or none.
type idMaps struct {
	uids, gids []specs.LinuxIDMapping
}

// hostMaps takes uidmap=INSIDE:OUTSIDE:COUNT[,...] and gidmap= out of a list
// of options. Snapshotters give them for an image whose files have the owners
// of no user namespace.
func hostMaps(at string, options []string) (m idMaps, rest []string, err error) {
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "uidmap":
			m.uids, err = parseMap(at+".options", name, value)
		case "gidmap":
			m.gids, err = parseMap(at+".options", name, value)
		default:
			rest = append(rest, o)
		}
		if err != nil {
			return m, nil, err
		}
	}
	if (m.uids == nil) != (m.gids == nil) {
		return m, nil, invalid(at+".options", "one of uidmap and gidmap is missing: the kernel maps both or none")
	}
	return m, rest, nil
}

func parseMap(at, name, text string) ([]specs.LinuxIDMapping, error) {
	var out []specs.LinuxIDMapping
	for _, part := range strings.Split(text, ",") {
		numbers := strings.Split(part, ":")
		if len(numbers) != 3 {
			return nil, invalid(at, "%s=%s is not INSIDE:OUTSIDE:COUNT", name, text)
		}
		var n [3]uint32
		for i, number := range numbers {
			v, err := strconv.ParseUint(number, 10, 32)
			if err != nil {
				return nil, invalid(at, "%s=%s is not INSIDE:OUTSIDE:COUNT", name, text)
			}
			n[i] = uint32(v)
		}
		out = append(out, specs.LinuxIDMapping{ContainerID: n[0], HostID: n[1], Size: n[2]})
	}
	return out, oci.CheckMappings(at+": "+name, out)
}

// mountMapped mounts what a Create request gives a map. An overlay has it on
// its lower directories, each of which is covered by a mapped copy of itself
// while the overlay is made, which keeps what it found; the mounts are the
// container's own, and nobody else sees that. Anything else is covered as a
// whole, and stays so.
func (b *builder) mountMapped(fsType string, m idMaps, mount Step) {
	if m.uids == nil {
		b.add(mount)
		return
	}
	cover := func(dir string, attr uint64, flags uint16) {
		b.add(Step{Op: OpIdmapHost, Flags: flags, A: attr, S: [4]string{oci.MapText(m.uids), dir, dir, oci.MapText(m.gids)}})
	}
	if fsType != "overlay" {
		b.add(mount)
		cover(mount.S[2], 0, FlagRec|FlagAttrRec)
		return
	}
	dirs := lowerDirs(mount.S[3])
	for _, dir := range dirs {
		cover(dir, attrRdonly, 0)
	}
	b.add(mount)
	for i := len(dirs) - 1; i >= 0; i-- {
		b.add(Step{Op: OpUnmountHost, S: [4]string{2: dirs[i]}})
	}
}

// lowerDirs are the lower directories of an overlay, each once, long names
// first: one inside of another comes before that. When the outer has its map,
// so has the inner, and what has one cannot get another.
func lowerDirs(data string) []string {
	var out []string
	seen := make(map[string]bool)
	for _, o := range splitData(data) {
		list, found := strings.CutPrefix(o, "lowerdir=")
		if !found {
			continue
		}
		for _, dir := range splitLower(list) {
			if !seen[dir] {
				seen[dir] = true
				out = append(out, dir)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return len(out[i]) > len(out[j]) })
	return out
}

// splitLower splits at colons; a backslash keeps one, and "::" is before a
// directory of data alone.
func splitLower(list string) []string {
	var out []string
	var dir strings.Builder
	for i := 0; i <= len(list); i++ {
		switch {
		case i < len(list) && list[i] == '\\' && i+1 < len(list):
			i++
			dir.WriteByte(list[i])
		case i == len(list) || list[i] == ':':
			if dir.Len() > 0 {
				out = append(out, dir.String())
			}
			dir.Reset()
		default:
			dir.WriteByte(list[i])
		}
	}
	return out
}
