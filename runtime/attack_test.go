// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// sharedDir is a directory of the host's on a mount of its own, which is shared as all mounts
// are where systemd runs.
func (w *world) sharedDir(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { // before the place looks for what is left
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", unix.MS_SHARED, ""); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// What the stage mounts for the root stays in the container, also where the root's mounts are to be
// shared: CRI wants that for a volume with Bidirectional propagation. In that volume the container
// mounts on the host, unless it has users of its own.
func TestSharedVolume(t *testing.T) {
	for _, users := range []bool{false, true} {
		t.Run(fmt.Sprint("users ", users), func(t *testing.T) {
			w := newWorld(t)
			bundles, volume := w.sharedDir("bundles"), w.sharedDir("volume")
			if err := os.Chmod(volume, 0o777); err != nil {
				t.Fatal(err)
			}
			spec := w.spec("shared", "sh", "-c", "mkdir /run/volume/a && mount -t tmpfs in /run/volume/a && touch /run/volume/a/done; exec sleep 60")
			spec.Linux.RootfsPropagation = "rshared"
			spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/run/volume", Source: volume, Type: "bind", Options: []string{"rbind", "rshared"}})
			for _, set := range []*[]string{&spec.Process.Capabilities.Bounding, &spec.Process.Capabilities.Effective, &spec.Process.Capabilities.Permitted} {
				*set = append(*set, "CAP_SYS_ADMIN")
			}
			want := []string{volume, volume + "/a"}
			if users {
				withUsers(spec)
				want = want[:1]
			}
			b := w.create("shared", spec)
			if err := b.Start(ctx(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the container's mount", func() bool {
				e, _ := b.exec("stat", "/run/volume/a/done")
				return e.Status == 0
			})
			if got := mountPoints(t, bundles); !slices.Equal(got, []string{bundles}) {
				t.Errorf("the root's mount is on the host: %v", got)
			}
			if got := mountPoints(t, volume); !slices.Equal(got, want) {
				t.Errorf("volume: got %v, want %v", got, want)
			}
			if !users {
				if err := unix.Unmount(volume+"/a", unix.MNT_DETACH); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func mountPoints(t testing.TB, dir string) []string {
	t.Helper()
	points, err := mountsBelow(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(points)
	return points
}

// deafAgent is an agent that takes listeners and answers one call of the first.
func deafAgent(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			defer conn.Close()
			listener := takeListener(t, conn)
			defer listener.Close()
			if n > 0 {
				continue
			}
			c := client{file: listener, name: name{"test", "deaf"}}
			c.answer(slog.New(slog.DiscardHandler))
		}
	}()
	return path
}

func takeListener(t testing.TB, conn *net.UnixConn) *os.File {
	oob := make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 1<<16), oob)
	if err != nil {
		t.Error(err)
		return nil
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) != 1 {
		t.Errorf("got %v, %v", list, err)
		return nil
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil {
		t.Error(err)
		return nil
	}
	return os.NewFile(uintptr(fds[0]), "listener")
}

// A process that hangs on its way into the container, be it that an agent does not answer, or that
// the container stops or starves it, keeps nobody else: not from pausing for longer than they want
// to wait, not other execs, not the end of the container.
func TestExecThatHangs(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("deaf", "sleep", "60")
	spec.Linux.Seccomp = &specs.LinuxSeccomp{
		DefaultAction: specs.ActAllow, ListenerPath: deafAgent(t),
		Syscalls: []specs.LinuxSyscall{{Names: []string{"execve"}, Action: specs.ActNotify}},
	}
	b := w.create("deaf", spec)
	if err := b.Start(ctx(t)); err != nil {
		t.Fatal(err)
	}
	hung := make(chan error, 1)
	try := func(ctx context.Context) error {
		_, err := b.Exec(ctx, ExecConfig{ID: "exec", Process: process("true")})
		return err
	}
	go func() { hung <- try(ctx(t)) }()
	inside := func() int {
		pids, err := b.Pids()
		if err != nil {
			t.Error(err)
		}
		return len(pids)
	}
	eventually(t, "the exec's stage", func() bool { return inside() > 1 })

	soon, cancel := context.WithTimeout(ctx(t), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := b.Pause(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("pause: got %v", err)
	}
	soon, cancel = context.WithTimeout(ctx(t), 200*time.Millisecond)
	defer cancel()
	if err := try(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another exec: got %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("they waited for %v", took)
	}
	if err := b.Delete(ctx(t)); err != nil {
		t.Error(err)
	}
	<-hung // killed in its execve, which counts as one
	b.wait()
}

// What the host has made read-only, or covered, a container with users of its own cannot undo, even
// with CAP_SYS_ADMIN: the kernel locks what a mount namespace of other users inherits.
func TestHostMountsStayAsTheyAre(t *testing.T) {
	for _, mapped := range []bool{false, true} {
		t.Run(fmt.Sprint("mapped ", mapped), func(t *testing.T) {
			w := newWorld(t)
			volume := w.sharedDir("volume")
			if mapped && !idmaps(t, volume) {
				t.Skip("SKIPPED: needs Linux 6.3 for idmapped tmpfs")
			}
			covered := filepath.Join(volume, "covered")
			if err := os.Mkdir(covered, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(covered+"/secret", []byte("secret"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(volume, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("cover", covered, "tmpfs", 0, "size=4k"); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("", volume, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOEXEC, ""); err != nil {
				t.Fatal(err)
			}
			spec := w.spec("locked", "sleep", "60")
			withUsers(spec)
			m := specs.Mount{Destination: "/run/volume", Source: volume, Type: "bind", Options: []string{"rbind"}}
			if mapped {
				m.UIDMappings, m.GIDMappings = mapping(), mapping()
				m.Options = append(m.Options, "ridmap")
			}
			spec.Mounts = append(spec.Mounts, m)
			for _, set := range []*[]string{&spec.Process.Capabilities.Bounding, &spec.Process.Capabilities.Effective, &spec.Process.Capabilities.Permitted} {
				*set = append(*set, "CAP_SYS_ADMIN")
			}
			b := w.create("locked", spec)
			if err := b.Start(ctx(t)); err != nil {
				t.Fatal(err)
			}
			for _, try := range []string{
				"mount -o remount,bind,rw /run/volume && touch /run/volume/new",
				"mount -o remount,bind,ro,exec /run/volume && ! grep -q 'volume.*noexec' /proc/self/mountinfo",
				"umount -l /run/volume/covered && cat /run/volume/covered/secret",
				"mkdir /run/b && mount -o bind /run/volume /run/b && cat /run/b/covered/secret",
			} {
				if e, out := b.exec("sh", "-c", try); e.Status == 0 {
					t.Errorf("%s: it can, %s", try, out)
				}
			}
		})
	}
}

// A startContainer hook that hangs, in a container that has no pids of its own to end with, goes with
// the container; its init can be killed meanwhile.
func TestHookThatHangs(t *testing.T) {
	w := newWorld(t)
	spec := w.spec("hangs", "sleep", "60")
	spec.Linux.Namespaces = slices.DeleteFunc(spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.PIDNamespace })
	spec.Hooks = &specs.Hooks{StartContainer: []specs.Hook{w.inImage("hang", "touch /run/hangs; sleep 60 & exec sleep 60")}}
	b := w.create("hangs", spec)
	started := make(chan error, 1)
	go func() { started <- b.Start(ctx(t)) }()
	eventually(t, "the hook and its child", func() bool {
		pids, err := b.Pids()
		return err == nil && len(pids) == 3
	})
	soon, cancel := context.WithTimeout(ctx(t), patience/4)
	defer cancel()
	if err := b.Kill(soon, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	b.wait()
	if err := b.Delete(soon); err != nil {
		t.Error(err)
	}
	select {
	case err := <-started:
		if err == nil {
			t.Error("the start was a success")
		}
	case <-soon.Done():
		t.Error("the start goes on")
	}
}

// A criu that was killed leaves no container frozen that was not paused.
func TestDeadCriuLeavesNothingFrozen(t *testing.T) {
	w := newWorld(t)
	b := w.start("frozen", "sleep", "60")
	for _, paused := range []bool{true, false} {
		must(t, b.group.Freeze(ctx(t)))
		dead := errors.New("criu was killed")
		if err := b.afterDump(paused, dead); !errors.Is(err, dead) {
			t.Errorf("got %v", err)
		}
		if frozen, err := b.group.Frozen(); err != nil || frozen != paused {
			t.Errorf("paused before %v: now %v, %v", paused, frozen, err)
		}
	}
}
