// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"foundry/integration/env"
)

// talker is a program that writes numbered lines of 16 bytes, about 10 MB/s of
// them, until it is killed, and tells in /talker/progress how many it has
// written and how many hundredths of a second one burst has taken at most.
const talker = `BEGIN {
	for (i = 0; ; i++) {
		if (i % 6500 == 0) {
			fflush()
			getline up < "/proc/uptime"; close("/proc/uptime"); split(up, t, " ")
			if (began && t[1] - began > most) most = t[1] - began
			printf "%d %d\n", i, most * 100 > "/talker/new"; close("/talker/new")
			system("mv /talker/new /talker/progress; usleep 8000")
			getline up < "/proc/uptime"; close("/proc/uptime"); split(up, t, " ")
			began = t[1]
		}
		printf "line %010d\n", i
	}
}`

// talking is a container with the talker, whose output a test reads from a fifo.
type talking struct {
	*fifos
	task client.Task
	dir  string
	exit <-chan client.ExitStatus
	got  bytes.Buffer
}

func newTalking(t *testing.T, d *env.Daemon, annotations map[string]string) *talking {
	t.Helper()
	dir := t.TempDir()
	c := withTalker(t, d, dir, annotated(annotations))
	k := &talking{fifos: newFifos(t, d), dir: dir}
	r := k.reader(k.conf.Stdout)
	defer r.Close()
	ctx := d.Context(t)
	var err error
	if k.task, err = c.NewTask(ctx, k.creator()); err == nil {
		if k.exit, err = k.task.Wait(ctx); err == nil {
			err = k.task.Start(ctx)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	k.read(r, 1<<20)
	return k
}

// withTalker is a container of the talker, which tells of its progress in dir.
func withTalker(t *testing.T, d *env.Daemon, dir string, opts ...oci.SpecOpts) client.Container {
	t.Helper()
	progress := oci.WithMounts([]specs.Mount{{Type: "bind", Source: dir, Destination: "/talker", Options: []string{"rbind", "rw"}}})
	return d.Container(t, env.ContainerConfig{Args: []string{"/bin/awk", talker}, Opts: append([]oci.SpecOpts{progress}, opts...)})
}

// read takes n bytes from the output, for -1 all to its end.
func (k *talking) read(r io.Reader, n int64) {
	k.t.Helper()
	if n < 0 {
		if _, err := io.Copy(&k.got, r); err != nil {
			k.t.Fatal(err)
		}
		return
	}
	if _, err := io.CopyN(&k.got, waiting{r}, n); err != nil {
		k.t.Fatal(err)
	}
}

// progress is how many lines were written, and the longest burst.
func (k *talking) progress() (lines int, most time.Duration) {
	k.t.Helper()
	text, err := os.ReadFile(k.dir + "/progress")
	if err != nil {
		return 0, 0
	}
	var hundredths int
	if _, err := fmt.Sscan(string(text), &lines, &hundredths); err != nil {
		k.t.Fatalf("progress %q: %v", text, err)
	}
	return lines, time.Duration(hundredths) * 10 * time.Millisecond
}

// talks waits until n more lines were written.
func (k *talking) talks(n int) {
	k.t.Helper()
	from, _ := k.progress()
	began := time.Now()
	for now := from; now-from < n; now, _ = k.progress() {
		if time.Since(began) > time.Minute*env.Slowness() {
			k.t.Fatalf("%d of %d more lines after %s", now-from, n, time.Since(began))
		}
		time.Sleep(10 * time.Millisecond)
	}
	k.t.Logf("%d MB in %s", n*16/1e6, time.Since(began).Round(time.Millisecond))
}

// finish kills the talker, reads to the end of its output and deletes the task.
func (k *talking) finish(d *env.Daemon, task client.Task) {
	k.t.Helper()
	ctx := d.Context(k.t)
	r := k.reader(k.conf.Stdout)
	defer r.Close()
	k.read(r, 1<<20) // it goes on as it was
	if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
		k.t.Fatal(err)
	}
	fd := int(r.(*os.File).Fd()) // blocks: to the end
	_ = syscall.SetNonblock(fd, false)
	k.read(r, -1)
	if _, err := task.Delete(ctx, client.WithProcessKill); err != nil {
		k.t.Error(err)
	}
}

// missing checks that what was read are whole lines in their order, and counts
// those that are not there.
func (k *talking) missing() (lines int) {
	k.t.Helper()
	next := 0
	all := strings.SplitAfter(k.got.String(), "\n")
	for _, line := range all[:len(all)-1] { // the talker was killed in the last one
		i, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "line "))
		if err != nil || len(line) != 16 || i < next {
			k.t.Fatalf("got line %q after %d", line, next-1)
		}
		lines += i - next
		next = i + 1
	}
	return lines
}

// asked is a number that the server tells on its control socket.
func asked(t *testing.T, s env.Server, what string) int {
	t.Helper()
	conn, err := net.Dial("unix", s.Dir+"/control.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text := status(t, conn)
	m := regexp.MustCompile(`(?m)^` + what + `=(\d+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("status: got %q, want %s", text, what)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// containerd stops, and with it whoever reads; a container writes 10 MB/s all
// the time and never waits. When containerd is back its newest lines are
// there, and what is missing between has been counted to the byte.
func TestOutputWhileContainerdIsDown(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	k := newTalking(t, d, nil)
	d.Kill(t)
	k.talks(16 << 20 / 16) // seconds, and far more than the ring
	_, most := k.progress()
	server := d.Servers()[0]
	kept := asked(t, server, "bytes_kept")
	if kept == 0 || kept > 1<<20 {
		t.Errorf("kept while nobody reads: got %d bytes, want at most a MiB", kept)
	}
	if most > time.Second*env.Slowness() {
		t.Errorf("a burst of 100 kB took %s: the container waited", most)
	}
	d.Start(t)
	k.finish(d, load(t, d, k.task.ID()))
	missing, lost := k.missing(), asked(t, server, "bytes_lost")
	if missing == 0 || lost != missing*16 {
		t.Errorf("lost: counted %d bytes, want %d", lost, missing*16)
	}
	if kept := asked(t, server, "bytes_kept"); kept != 0 {
		t.Errorf("kept when all was read: got %d bytes", kept)
	}
	if !strings.Contains(server.Log(), "output was lost") {
		t.Error("the log does not tell of it")
	}
	t.Logf("longest burst %s, %d of %d lines dropped", most, missing, k.got.Len()/16+missing)
}

// With LogLoss never the container waits when the ring is full, and nothing is
// lost; a client that attaches after a restart reads on where the first stopped.
func TestOutputIsNotLostWhenNotAllowed(t *testing.T) {
	requireFoundry(t)
	d := env.Containerd(t, env.Config{})
	k := newTalking(t, d, map[string]string{"foundry.log.loss": "never", "foundry.log.ring": "262144"})
	server := d.Servers()[0]
	env.Eventually(t, "the ring is full", func() bool { return asked(t, server, "bytes_kept") == 262144 })
	d.Restart(t)
	k.finish(d, load(t, d, k.task.ID()))
	if missing, lost := k.missing(), asked(t, server, "bytes_lost"); missing != 0 || lost != 0 {
		t.Errorf("lost: got %d lines, counted %d bytes, want none", missing, lost)
	}
}
