// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"foundry/runtime/oci"
)

// CheckpointConfig is a request to write a container's processes to files.
type CheckpointConfig struct {
	Image string // directory for criu's images, made if need be
	Work  string // directory for criu's logs; empty: Image
	Exit  bool   // the container ends; else it goes on

	OpenTCP, ExternalUnixSockets, FileLocks bool // as in criu's manual: what it would refuse otherwise
}

// names of files beside criu's images.
const (
	stdioFile  = "descriptors.json" // what standard input, output and error were
	dumpLog    = "dump.log"
	restoreLog = "restore.log"
	nullCookie = "null" // criu's external mounts that hide files
	netCookie  = "extNetNs"
)

// Checkpoint writes the processes of a running container to cfg.Image with criu
// (https://criu.org). It is [ErrUnsupported] where criu is absent or cannot
// work, and for containers that criu, or we, cannot restore.
func (c *Container) Checkpoint(ctx context.Context, cfg CheckpointConfig) error {
	if err := c.checkpoint(ctx, cfg); err != nil {
		return fmt.Errorf("checkpoint %q: %w", c.name.id, c.explainCriu(ctx, err))
	}
	return nil
}

func (c *Container) checkpoint(ctx context.Context, cfg CheckpointConfig) error {
	if c.init.gone() {
		return fmt.Errorf("init has exited: %w", ErrNotRunning)
	}
	spec, err := oci.Load(c.bundle)
	if err != nil {
		return err
	}
	if err := checkpointable(spec, c.rt.host.cgroups.Unified); err != nil {
		return err
	}
	if cfg.Work == "" {
		cfg.Work = cfg.Image
	}
	dirs, err := openCriuDirs(cfg.Image, cfg.Work)
	if err != nil {
		return err
	}
	defer closeAll(dirs)
	if err := saveStdio(cfg.Image, c.Pid()); err != nil {
		return err
	}
	opts := criuOptions(dirs, dumpLog)
	opts.Pid = proto.Int32(int32(c.Pid()))
	opts.FreezeCgroup = proto.String(c.group.Dirs()[0]) // a paused container stays so
	opts.LeaveRunning = proto.Bool(!cfg.Exit)
	opts.TcpEstablished = proto.Bool(cfg.OpenTCP)
	opts.ExtUnixSk = proto.Bool(cfg.ExternalUnixSockets)
	opts.FileLocks = proto.Bool(cfg.FileLocks)
	opts.External, err = c.externals(spec)
	if err != nil {
		return err
	}
	frozen, err := c.group.Frozen()
	if err != nil {
		return err
	}
	run := criuRun{start: c.startCriu, log: filepath.Join(cfg.Work, dumpLog)}
	_, err = run.do(ctx, &rpc.CriuReq{Type: rpc.CriuReqType_DUMP.Enum(), Opts: opts})
	return c.afterDump(frozen, err)
}

// afterDump thaws what criu has frozen, and left so when it was killed or died.
func (c *Container) afterDump(wasFrozen bool, err error) error {
	if err == nil || wasFrozen {
		return err
	}
	return errors.Join(err, c.group.Thaw())
}

// checkpointable refuses, by name, what would be written but not come back.
func checkpointable(spec *specs.Spec, unified bool) error {
	refuse := func(path, what string) error {
		return &oci.UnsupportedError{Path: path, What: "checkpoint and restore of " + what + " is"}
	}
	switch {
	case !unified:
		return withKind(ErrUnsupported, errors.New("checkpoint and restore with criu need a host with cgroup v2"))
	case spec.Process.Terminal:
		return refuse("process.terminal", "a terminal")
	case spec.Linux.Seccomp != nil && spec.Linux.Seccomp.ListenerPath != "":
		return refuse("linux.seccomp.listenerPath", "a seccomp listener")
	}
	for i, ns := range spec.Linux.Namespaces {
		at := fmt.Sprintf("linux.namespaces[%d]", i)
		switch {
		case ns.Type == specs.UserNamespace || ns.Type == specs.TimeNamespace && len(spec.Linux.TimeOffsets) > 0:
			return refuse(at+".type", string(ns.Type)+" namespaces")
		case ns.Path != "" && ns.Type != specs.NetworkNamespace:
			return refuse(at+".path", "a joined "+string(ns.Type)+" namespace")
		}
	}
	return nil
}

func openCriuDirs(image, work string) ([]*os.File, error) {
	var dirs []*os.File
	for _, dir := range []string{image, work} {
		if !filepath.IsAbs(dir) {
			closeAll(dirs)
			return nil, withKind(ErrInvalid, fmt.Errorf("directory %q is not absolute", dir))
		}
		err := os.MkdirAll(dir, 0o700)
		var f *os.File
		if err == nil {
			f, err = os.Open(dir)
		}
		if err != nil {
			closeAll(dirs)
			return nil, err
		}
		dirs = append(dirs, f)
	}
	return dirs, nil
}

// criuOptions are those of every request. criu opens the directories through
// our /proc/PID/fd.
func criuOptions(dirs []*os.File, log string) *rpc.CriuOpts {
	return &rpc.CriuOpts{
		ImagesDirFd:       proto.Int32(int32(dirs[0].Fd())),
		WorkDirFd:         proto.Int32(int32(dirs[1].Fd())),
		LogLevel:          proto.Int32(4),
		LogFile:           proto.String(log),
		ManageCgroups:     proto.Bool(true),
		ManageCgroupsMode: rpc.CriuCgMode_SOFT.Enum(),
	}
}

// saveStdio writes down what init's standard descriptors are: a pipe among them
// is replaced by the new container's at its restore.
func saveStdio(dir string, pid int) error {
	var names [3]string
	for i := range names {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, i))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it may have closed it
			return err
		}
		names[i] = name
	}
	data, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, stdioFile), data, 0o600)
}

func loadStdio(dir string) (names [3]string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, stdioFile))
	if err == nil {
		err = json.Unmarshal(data, &names)
	}
	return names, err
}

// externals name what is not the container's own, so that criu neither looks
// into it nor fails for it: bound mounts by their destination, hidden files, the
// network namespace that somebody else made.
func (c *Container) externals(spec *specs.Spec) ([]string, error) {
	var list []string
	for _, m := range spec.Mounts {
		if oci.IsBind(m) {
			list = append(list, fmt.Sprintf("mnt[%s]:%s", m.Destination, m.Destination))
		}
	}
	for _, p := range spec.Linux.MaskedPaths {
		var st unix.Stat_t
		err := unix.Lstat(filepath.Join(fmt.Sprintf("/proc/%d/root", c.Pid()), p), &st)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			list = append(list, fmt.Sprintf("mnt[%s]:%s", p, nullCookie))
		}
	}
	if joinedNetwork(spec) != "" {
		target, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", c.Pid()))
		if err != nil {
			return nil, err
		}
		inode := strings.TrimSuffix(strings.TrimPrefix(target, "net:["), "]")
		list = append(list, fmt.Sprintf("net[%s]:%s", inode, netCookie))
	}
	return list, nil
}

// joinedNetwork is the path of a network namespace that the container joins.
func joinedNetwork(spec *specs.Spec) string {
	for _, ns := range spec.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace {
			return ns.Path
		}
	}
	return ""
}
