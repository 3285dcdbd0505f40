// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"foundry/runtime/oci"
)

// delegateList names the files of a v2 group that go with it to whom the group
// is given.
const delegateList = "/sys/kernel/cgroup/delegate"

// hostUID is who user uid of the container is on the host; false when that is
// nobody, or not known.
func hostUID(spec *specs.Spec, uid uint32) (int, bool) {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type != specs.UserNamespace {
			continue
		}
		maps := spec.Linux.UIDMappings
		if len(maps) == 0 {
			maps = mapsOf(ns.Path)
		}
		if host, found := oci.HostID(maps, uid); found && len(maps) > 0 {
			return int(host), true
		}
		return 0, false
	}
	return int(uid), true
}

// mapsOf reads the mappings of a user namespace that is named by a process in
// it. Of one that is pinned elsewhere the spec must say them.
func mapsOf(path string) []specs.LinuxIDMapping {
	process, ok := strings.CutSuffix(path, "/ns/user")
	if !ok || !strings.HasPrefix(process, "/proc/") {
		return nil
	}
	data, err := os.ReadFile(process + "/uid_map")
	if err != nil {
		return nil
	}
	var maps []specs.LinuxIDMapping
	for line := range strings.Lines(string(data)) {
		var m specs.LinuxIDMapping
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil
		}
		maps = append(maps, m)
	}
	return maps
}

// give makes the pipes of a process its user's, so that it can open /dev/stdout
// again. The stage does so too, but in a user namespace it has no right to: a
// pipe belongs to the host's root.
func (c *Container) give(s Stdio, p *specs.Process) error {
	uid, ok := hostUID(c.spec, p.User.UID)
	if !ok || uid == 0 {
		return nil
	}
	var errs []error
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			errs = append(errs, givePipe(f, uid))
		}
	}
	return errors.Join(errs...)
}

func givePipe(f *os.File, uid int) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		if ferr = unix.Fstat(int(fd), &st); ferr == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO && int(st.Uid) != uid {
			ferr = unix.Fchown(int(fd), uid, -1)
		}
	})
	if err = errors.Join(err, ferr); err != nil {
		return fmt.Errorf("give a stream to user %d: %w", uid, err)
	}
	return nil
}

// delegate gives the container's v2 group to its user where the container may
// write to it: where it has a cgroup namespace of its own and a writable mount.
func (c *Container) delegate() error {
	if !c.rt.host.cgroups.Unified || !writesCgroup(c.spec) {
		return nil
	}
	uid, ok := hostUID(c.spec, c.spec.Process.User.UID)
	if !ok || uid == 0 {
		return nil
	}
	files, err := os.ReadFile(delegateList)
	if errors.Is(err, fs.ErrNotExist) { // before Linux 4.15
		files, err = []byte("cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n"), nil
	}
	if err != nil {
		return fmt.Errorf("delegate cgroup: %w", err)
	}
	dir := c.group.Dirs()[0]
	for _, name := range append([]string{"."}, strings.Fields(string(files))...) {
		if err := os.Chown(filepath.Join(dir, name), uid, -1); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delegate cgroup: %w", err)
		}
	}
	return nil
}

func writesCgroup(spec *specs.Spec) bool {
	if spec.Linux == nil || spec.Process == nil {
		return false
	}
	private := slices.ContainsFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool {
		return ns.Type == specs.CgroupNamespace && ns.Path == ""
	})
	return private && slices.ContainsFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Type == "cgroup" && filepath.Clean(m.Destination) == "/sys/fs/cgroup" && !slices.Contains(m.Options, "ro")
	})
}
