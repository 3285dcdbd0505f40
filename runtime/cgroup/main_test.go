// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// hostInfo skips, aloud, what cannot be tested without root.
func hostInfo(t testing.TB) Info {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes cgroups")
	}
	info, err := Host()
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// groupPath is a path of this test's own, and fails the test when anything is
// left of it at the end.
func groupPath(t testing.TB, info Info) string {
	t.Helper()
	name := strings.NewReplacer("/", "_", "#", "_", ":", "_", " ", "_").Replace(t.Name())
	p := fmt.Sprintf("/foundry-test-%d/%s", os.Getpid(), name)
	t.Cleanup(func() {
		for _, dir := range newGroup(info, path.Dir(p)).all() {
			for _, d := range []string{path.Join(dir, name), dir} {
				names, err := subdirs(d)
				if err == nil && len(names) > 0 && d != dir {
					t.Errorf("%s has groups below it at the end: %q", d, names)
				}
				if err := syscall.Rmdir(d); err != nil && err != syscall.ENOENT && d != dir {
					t.Errorf("%s is left at the end: %v", d, err)
				} else if err == nil && d != dir {
					t.Errorf("%s was left at the end", d)
				}
			}
		}
	})
	return p
}

// create makes a group that goes with the test.
func create(t testing.TB, info Info, p string, r *specs.LinuxResources) *Group {
	t.Helper()
	g, err := Create(Config{Info: info, Path: p, Resources: r})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.Kill(within(t, 10*time.Second))
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// run starts a shell script in the group, entering by JoinFiles, and returns
// when the script has printed its first line.
func run(t testing.TB, g *Group, script string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := g.Dir()
	if err != nil {
		t.Fatal(err)
	}
	if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	if !g.info.Unified {
		files, err := g.JoinFiles()
		if err != nil {
			t.Fatal(err)
		}
		defer closeAll(files)
		cmd.ExtraFiles = files
		join := ""
		for n := range files {
			join += fmt.Sprintf("echo 0 >/proc/self/fd/%d && ", n+3)
		}
		cmd.Args[2] = strings.TrimSuffix(join, "&& ") + "|| exit 99\n" + script
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = g.Thaw(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("start %q in %s: %v", script, g.Path(), err)
	}
	return cmd
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually looks until ok holds, for what the kernel finishes on its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for p := newPause(ctx); !ok(); {
		if p.wait() != nil {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func pidsOf(t testing.TB, g *Group) []int {
	t.Helper()
	pids, err := g.Pids()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(pids)
	return pids
}
