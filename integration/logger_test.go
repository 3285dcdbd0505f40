// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"foundry/integration/env"
)

func TestLogPrograms(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	for _, s := range []story{{"V2", loggerV2}, {"Killed", loggerKilled}} {
		s.run(t, d)
	}
}

// logScript is a log program. Its arguments are `dir` and where to write; what
// copies is a child of it, as with many log programs.
const logScript = `#!/bin/sh
echo $$ > $2/pid
printf . >&5
exec 5>&-
cat <&3 >> $2/log &
cat <&4 >> $2/errors &
echo $! > $2/child
wait
`

// logTo makes the program and returns its directory and URI.
func logTo(t *testing.T, scheme string) (dir string, uri *url.URL) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(dir+"/logger", []byte(logScript), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, &url.URL{Scheme: scheme, Path: dir + "/logger", RawQuery: url.Values{"dir": {dir}}.Encode()}
}

func number(path string) int {
	b, _ := os.ReadFile(path)
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

// A program that says with a byte that it is ready gets both streams, all of
// them, and ends with the container.
func loggerV2(t *testing.T, d *env.Daemon) {
	dir, uri := logTo(t, "binary-v2")
	c := d.Container(t, env.ContainerConfig{Args: []string{"/bin/sh", "-c", "seq 100000; echo done >&2"}})
	runWith(t, d, c, cio.LogURI(uri))
	log, _ := os.ReadFile(dir + "/log")
	if lines := strings.Fields(string(log)); len(lines) != 100000 || lines[99999] != "100000" {
		t.Errorf("log: got %d lines", len(lines))
	}
	if errors, _ := os.ReadFile(dir + "/errors"); string(errors) != "done\n" {
		t.Errorf("errors: got %q", errors)
	}
	if env.Alive(number(dir + "/pid")) {
		t.Error("the program is still there")
	}
}

// The program is killed. What it had started goes with it, another one is
// started, and the container notices nothing of it.
func loggerKilled(t *testing.T, d *env.Daemon) {
	dir, uri := logTo(t, "binary-v2")
	k := &talking{fifos: &fifos{t: t}, dir: t.TempDir()}
	c := withTalker(t, d, k.dir)
	ctx := d.Context(t)
	task, err := c.NewTask(ctx, cio.LogURI(uri))
	if err == nil {
		err = task.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pid, child := number(dir+"/pid"), number(dir+"/child")
		mustKill(t, pid, syscall.SIGKILL)
		env.Eventually(t, "its child goes with it", func() bool { return !env.Alive(child) })
		k.talks(1 << 20 / 16)
		env.Eventually(t, "there is another", func() bool { now := number(dir + "/child"); return now != child && env.Alive(now) })
		size := fileSize(dir + "/log")
		env.Eventually(t, "it logs", func() bool { return fileSize(dir+"/log") > size })
	}
	if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
		t.Error(err)
	}
	if lost := asked(t, d.Servers()[0], "bytes_lost"); lost > 4<<20 {
		t.Errorf("lost %d bytes", lost)
	}
	_, most := k.progress()
	t.Logf("longest burst %s, %d MB logged", most, fileSize(dir+"/log")/1e6)
}

func fileSize(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}
