// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/runtime/cgroup"
	"foundry/shim"
	"foundry/shim/view"
)

func serverFile(root string) string    { return filepath.Join(root, "server") }
func controlSocket(root string) string { return filepath.Join(root, shim.ControlSocket) }
func debugSocket(root string) string   { return filepath.Join(root, view.Socket) }

// writeServerFile tells launchers where we listen and from which build we are.
func writeServerFile(f *flags) error {
	identity, err := identity()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("pid=%d\nspawner=%d\nidentity=%s\ngeneration=%s\naddress=unix://%s\n",
		os.Getpid(), os.Getppid(), identity, f.gen, f.socket)
	path := serverFile(f.root)
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		return fmt.Errorf("describe server: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("describe server: %w", err)
	}
	return nil
}

// identity is dev:ino:size:mtime of the program we run, which may no longer be
// the one at our path. The launcher computes the same of the one on disk.
func identity() (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat("/proc/self/exe", &st); err != nil {
		return "", fmt.Errorf("identify server: %w", &os.PathError{Op: "stat", Path: "/proc/self/exe", Err: err})
	}
	return fmt.Sprintf("%d:%d:%d:%d", st.Dev, st.Ino, st.Size, st.Mtim.Nano()), nil
}

// groups are the cgroups of the server and of its spawner. Both leave the one
// of containerd's, in which they were started: its limits, and a systemd that
// stops containerd by its group, are not meant for containers.
type groups struct {
	info cgroup.Info
	path string // of both
	pids []int  // that were moved
}

// leave moves server and spawner. A host where that cannot be done serves all
// the same.
func (g *groups) leave(root string, log *slog.Logger) {
	info, err := cgroup.Host()
	if err != nil {
		log.Warn("server stays in containerd's cgroup", "err", err)
		return
	}
	g.info, g.path = info, path.Join("/foundry", filepath.Base(root))
	for name, pid := range map[string]int{"server": os.Getpid(), "spawner": os.Getppid()} {
		if err := cgroup.Leave(cgroup.Config{Info: info, Path: path.Join(g.path, name)}, pid); err != nil {
			log.Warn("stays in containerd's cgroup", "process", name, "err", err)
			continue
		}
		g.pids = append(g.pids, pid)
	}
	if err := g.limit(); err != nil {
		log.Warn("the server's memory has no limit", "err", err)
	}
}

// serverMemory is what the server may use: some thirty times what it needs for
// five hundred containers, for their outputs may each keep a MiB that nobody
// reads. It is there so that a fault of ours is ours alone: killed, the server
// loses no container's end, and the host is not short of memory.
const serverMemory = 2 << 30

// limit sets it. The garbage collector is told of a little less: it shall work
// harder before the kernel kills.
func (g *groups) limit() error {
	server, err := cgroup.Open(g.info, path.Join(g.path, "server"))
	if err != nil {
		return err
	}
	limit := int64(serverMemory)
	if err := server.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}); err != nil {
		return err
	}
	debug.SetMemoryLimit(limit / 10 * 9)
	return nil
}

// remove removes the instance's groups when its server goes for good, by way
// of the root group: a process cannot remove the one it is in.
func (g *groups) remove(log *slog.Logger) {
	if g.path == "" {
		return
	}
	for _, h := range g.info.Hierarchies {
		g.toRoot(h.Mountpoint)
	}
	if g.info.Hybrid != "" {
		g.toRoot(g.info.Hybrid)
	}
	group, err := cgroup.Open(g.info, g.path)
	if err == nil {
		err = group.Remove()
	}
	if err != nil {
		log.Warn("remove cgroup", "group", g.path, "err", err)
	}
}

// toRoot moves server and spawner to the root of a hierarchy. What fails shows
// when the group cannot be removed.
func (g *groups) toRoot(mountpoint string) {
	for _, pid := range g.pids {
		_ = os.WriteFile(filepath.Join(mountpoint, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}
