// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

// copyUp is the plan of ct with a tmpfs on /d that begins as what is there.
func copyUp(t *testing.T, ct *container, attr uint64, options string) *plan.Plan {
	t.Helper()
	p := ct.plan(t)
	insert(p, plan.OpPivot, plan.Step{Op: plan.OpMount, Flags: plan.FlagCopyUp, FD: -1, A: attr, S: [4]string{"tmpfs", "tmpfs", "/d", options}})
	return p
}

// TestCopyUp: all kinds of files, with what they look like.
func TestCopyUp(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", `cd /d; for f in $(busybox find . | busybox sort); do busybox stat -c '%n %F %a %u:%g %Y %s %t:%T' $f; done
cat file sub/deep/empty; readlink out; echo new >sub/made; busybox md5sum big`)
	d := filepath.Join(ct.facts.Rootfs, "d")
	must(t, os.MkdirAll(filepath.Join(d, "sub/deep"), 0o755))
	must(t, os.WriteFile(filepath.Join(d, "file"), []byte("content\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(d, "sub/deep/empty"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(d, "big"), []byte(strings.Repeat("0123456789abcdef", 1<<18)), 0o400))
	must(t, os.Lchown(filepath.Join(d, "file"), 12, 34))
	must(t, os.Chmod(filepath.Join(d, "file"), 0o751|os.ModeSetuid))
	link(t, "/etc/passwd", filepath.Join(d, "out"))
	must(t, os.Lchown(filepath.Join(d, "out"), 5, 6))
	must(t, unix.Mkfifo(filepath.Join(d, "fifo"), 0o620))
	must(t, unix.Mknod(filepath.Join(d, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, os.Chmod(filepath.Join(d, "fifo"), 0o620))
	must(t, os.Chmod(filepath.Join(d, "null"), 0o666))
	must(t, os.Chown(filepath.Join(d, "sub"), 7, 8))
	must(t, os.Chmod(filepath.Join(d, "sub"), 0o700|os.ModeSticky))
	must(t, os.Chmod(d, 0o751))
	for i, name := range []string{"file", "sub/deep/empty", "big", "fifo", "null", "sub/deep", "sub"} {
		at := time.Unix(int64(1000000+i), 0)
		must(t, os.Chtimes(filepath.Join(d, name), at, at))
	}
	stamp := []unix.Timespec{{Sec: 2000000}, {Sec: 2000000}}
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(d, "out"), stamp, unix.AT_SYMLINK_NOFOLLOW))
	want := `. directory 751
./big regular file 400 0:0 1000002 4194304 0:0
./fifo fifo 620 0:0 1000003 0 0:0
./file regular file 4751 12:34 1000000 8 0:0
./null character special file 666 0:0 1000004 0 1:3
./out symbolic link 777 5:6 2000000 11 0:0
./sub directory 1700 7:8 1000006 60 0:0
./sub/deep directory 755 0:0 1000005 60 0:0
./sub/deep/empty regular empty file 600 0:0 1000001 0 0:0
content
/etc/passwd
e230a73093573d16cc4d9a4f7373f4cb  big`
	got, _ := w.output(copyUp(t, ct, 0, ""), nil)
	first, rest, _ := strings.Cut(got, "\n") // size and time of the mount's root are its own
	got = strings.Join(strings.Fields(first)[:3], " ") + "\n" + rest
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := os.Stat(filepath.Join(d, "sub/made")); err == nil {
		t.Error("what the container makes is in the image")
	}
}

// TestCopyUpAttributes: those that tmpfs takes, file capabilities among them.
func TestCopyUpAttributes(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sleep", "1000")
	d := filepath.Join(ct.facts.Rootfs, "d")
	must(t, os.MkdirAll(filepath.Join(d, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(d, "file"), nil, 0o755))
	must(t, os.Chown(filepath.Join(d, "file"), 3, 4))
	capability := "\x00\x00\x00\x02\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	set := map[string][2]string{"file": {"security.capability", capability}, "sub": {"trusted.mark", "dir"}}
	for name, attr := range set {
		must(t, unix.Setxattr(filepath.Join(d, name), attr[0], []byte(attr[1]), 0))
	}
	p := w.spawn(copyUp(t, ct, 0, ""))
	w.run(p)
	for name, attr := range set {
		buf := make([]byte, 64)
		n, err := unix.Getxattr(fmt.Sprintf("/proc/%d/root/d/%s", p.Pid, name), attr[0], buf)
		if err != nil || string(buf[:n]) != attr[1] {
			t.Errorf("%s of %s: got %q, %v", attr[0], name, buf[:max(n, 0)], err)
		}
	}
}

// TestCopyUpManyAndDeep: more entries than one read of a directory gives, with
// directories among them, and levels up to the border.
func TestCopyUpManyAndDeep(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "busybox find /d | busybox wc -l")
	d := filepath.Join(ct.facts.Rootfs, "d")
	want := 1
	for i := range 300 {
		dir := filepath.Join(d, fmt.Sprintf("a-directory-with-a-name-%03d", i))
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(dir+"-file", nil, 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "inside"), nil, 0o644))
		want += 3
	}
	must(t, os.MkdirAll(d+strings.Repeat("/x", 99), 0o755))
	if got, _ := w.output(copyUp(t, ct, attrReadonly, "size=64m"), nil); got != itoa(want+99) {
		t.Errorf("got %s entries, want %d", got, want+99)
	}
	must(t, os.MkdirAll(d+strings.Repeat("/x", 101), 0o755))
	p := w.spawn(copyUp(t, ct, 0, ""))
	const message = `copy what /d holds into the tmpfs on it: "x": file name too long`
	if _, err := p.Sync(w.context()); err == nil || err.Error() != message {
		t.Errorf("got %v, want %s", err, message)
	}
	w.exit(p)
}

// TestCopyUpErrors: a full tmpfs says what did not go into it; an absent
// directory has nothing to copy; a read-only one is full before it is.
func TestCopyUpErrors(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "ls /d; echo x >/d/y")
	if got, _ := w.output(copyUp(t, ct, 0, ""), nil); got != "" {
		t.Errorf("absent: got %q", got)
	}
	d := filepath.Join(ct.facts.Rootfs, "d")
	must(t, os.WriteFile(filepath.Join(d, "big"), make([]byte, 1<<16), 0o644))
	if got, _ := w.output(copyUp(t, ct, attrReadonly, ""), nil); got != "big\nsh: can't create /d/y: Read-only file system" {
		t.Errorf("read-only: got %q", got)
	}
	p := w.spawn(copyUp(t, ct, 0, "size=16k"))
	const message = `copy what /d holds into the tmpfs on it: "big": no space left on device`
	if _, err := p.Sync(w.context()); err == nil || err.Error() != message {
		t.Errorf("full: got %v, want %s", err, message)
	}
	w.exit(p)
}

// TestCopyUpStaysInside: a link in the place of the directory, and links in it,
// lead nowhere but below the root.
func TestCopyUpStaysInside(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "busybox find /etc/e; readlink /etc/e/up")
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644))
	must(t, os.MkdirAll(filepath.Join(ct.facts.Rootfs, "etc/e"), 0o755))
	link(t, "/etc/e", filepath.Join(ct.facts.Rootfs, "d"))
	link(t, outside, filepath.Join(ct.facts.Rootfs, "etc/e/up"))
	if got, _ := w.output(copyUp(t, ct, 0, ""), nil); got != "/etc/e\n/etc/e/up\n"+outside {
		t.Errorf("got %q", got)
	}
}
