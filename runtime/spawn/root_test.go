// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"foundry/runtime/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// TestLinksStayInRoot: an image full of links that lead to the host. Each
// mount lands inside of the root, nothing is made outside.
func TestLinksStayInRoot(t *testing.T) {
	w := newWorld(t, 16)
	outside := t.TempDir()
	for _, c := range []struct {
		name, link, to, target, see string
	}{
		{"absolute link to a directory of the host", "mnt", outside, "/mnt/new", outside + "/new"},
		{"dots above the root", "mnt", "../../../.." + outside, "/mnt/deep/er", outside + "/deep/er"},
		{"a link that leads nowhere", "var", "run/lately", "/var/secrets", "/run/lately/secrets"},
		{"two of them", "a", "b/c", "/a/x", "/d/c/x"},
		{"plain", "", "", "/one/two/three", "/one/two/three"},
		{"dots in the target", "", "", "/../../one/../two", "/two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ct := newContainer(t, "cat", c.see+"/mark")
			if c.link != "" {
				link(t, c.to, filepath.Join(ct.facts.Rootfs, c.link))
			}
			if c.link == "a" {
				link(t, "/d", filepath.Join(ct.facts.Rootfs, "b"))
			}
			source := t.TempDir()
			if err := os.WriteFile(filepath.Join(source, "mark"), []byte("mounted\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			p := ct.plan(t)
			insert(p, plan.OpPivot, plan.Step{Op: plan.OpBind, FD: -1, S: [4]string{1: source, 2: c.target}})
			if got, e := w.output(p, nil); got != "mounted" || e.Status != 0 {
				t.Errorf("got %q, status %d: the mount is not at %s", got, e.Status, c.see)
			}
			if list, _ := os.ReadDir(outside); len(list) != 0 {
				t.Errorf("made outside of the root: %v", list)
			}
		})
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// insert puts s before the first step of that op.
func insert(p *plan.Plan, before plan.Op, s plan.Step) {
	for i := range p.Steps {
		if p.Steps[i].Op == before {
			p.Steps = append(p.Steps[:i:i], append([]plan.Step{s}, p.Steps[i:]...)...)
			return
		}
	}
	panic("no such step")
}

func TestLinkLoop(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "true")
	link(t, "b", filepath.Join(ct.facts.Rootfs, "a"))
	link(t, "a", filepath.Join(ct.facts.Rootfs, "b"))
	ct.mount("tmpfs", "tmpfs", "/a/x")
	p := w.spawn(ct.plan(t))
	if _, err := p.Sync(w.context()); err == nil || err.Error() != "mount tmpfs on /a/x: open target: too many levels of symbolic links" {
		t.Errorf("got %v, want ELOOP", err)
	}
	w.exit(p)
}

// TestBindFile: the target of a file is made, with its directories.
func TestBindFile(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "cat /etc/deep/name; echo x >/etc/deep/name")
	source := filepath.Join(t.TempDir(), "name")
	if err := os.WriteFile(source, []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ct.mount("bind", source, "/etc/deep/name", "rbind", "ro")
	if got, _ := w.output(ct.plan(t), nil); got != "content\nsh: can't create /etc/deep/name: Read-only file system" {
		t.Errorf("got %q", got)
	}
}

// TestMasks: a null device of the image's making masks nothing.
func TestMasks(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "cat /secret /other; ls -A /hidden /hidden2; echo x >/hidden/y; cat /public; echo y >/hidden2/y")
	for _, name := range []string{"secret", "other", "public"} {
		if err := os.WriteFile(filepath.Join(ct.facts.Rootfs, name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"hidden/a", "hidden2/b"} {
		if err := os.MkdirAll(filepath.Join(ct.facts.Rootfs, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ct.spec.Mounts = ct.spec.Mounts[:1] // no /dev: the image's own
	ct.spec.Linux.Devices = nil
	ct.spec.Linux.MaskedPaths = []string{"/secret", "/hidden", "/absent", "/other", "/hidden2", "/secret/below"}
	ct.spec.Linux.ReadonlyPaths = []string{"/absent"}
	p := ct.plan(t)
	for i := range p.Steps { // keep the plan from making a real /dev/null
		if p.Steps[i].Op == plan.OpMknod && p.Steps[i].S[2] == "/dev/null" {
			p.Steps = append(p.Steps[:i], p.Steps[i+1:]...)
			break
		}
	}
	link(t, "../public", filepath.Join(ct.facts.Rootfs, "dev/null"))
	want := "/hidden:\n\n/hidden2:\nsh: can't create /hidden/y: Read-only file system\npublic\nsh: can't create /hidden2/y: Read-only file system"
	if got, _ := w.output(p, nil); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRootIsReadonly(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "echo x >/x; echo y >/dev/y; echo ok >/dev/null")
	ct.spec.Root.Readonly = true
	if got, e := w.output(ct.plan(t), nil); got != "sh: can't create /x: Read-only file system" || e.Status != 0 {
		t.Errorf("got %q, status %d", got, e.Status)
	}
}

func TestNoPivot(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "echo *; mount | grep -c ' on / '")
	ct.facts.NoPivotRoot = true
	if got, e := w.output(ct.plan(t), nil); got != "bin dev etc proc run sys tmp\n1" || e.Status != 0 {
		t.Errorf("got %q, status %d", got, e.Status)
	}
}

// TestMountsStayInside: nothing of a container's mounts is seen on the host.
func TestMountsStayInside(t *testing.T) {
	w := newWorld(t, 16)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	ct := newContainer(t, "sleep", "1000")
	p := w.spawn(ct.plan(t))
	w.run(p)
	during, _ := os.ReadFile("/proc/self/mountinfo")
	if string(before) != string(during) {
		t.Errorf("mounts of the host changed:\n%s\n%s", before, during)
	}
}

// TestTmpfsTakesMode: over a directory of the image a tmpfs looks like it.
func TestTmpfsTakesMode(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "ls -ld /tmp /made | cut -c1-10")
	if err := os.Chmod(filepath.Join(ct.facts.Rootfs, "tmp"), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	ct.mount("tmpfs", "tmpfs", "/tmp", "nosuid")
	ct.mount("tmpfs", "tmpfs", "/made", "nosuid", "mode=700")
	if got, _ := w.output(ct.plan(t), nil); got != "drwx------\ndrwxrwxrwt" {
		t.Errorf("got %q", got)
	}
}

func TestUser(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "id -u; id -g; id -G; grep -E '^Cap(Eff|Prm|Bnd|Amb)' /proc/self/status | tr -d '\\t'; umask; pwd")
	ct.spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7, 8}, Umask: ptr(uint32(0o77))}
	ct.spec.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: []string{"CAP_KILL", "CAP_CHOWN"}, Permitted: []string{"CAP_KILL"}, Effective: []string{"CAP_KILL"},
		Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL"},
	}
	ct.spec.Process.Cwd = "/work/dir"
	want := "1000\n1001\n1001 7 8\nCapPrm:0000000000000020\nCapEff:0000000000000020\nCapBnd:0000000000000021\nCapAmb:0000000000000020\n0077\n/work/dir"
	if got, _ := w.output(ct.plan(t), nil); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func ptr[T any](v T) *T { return &v }

// TestProgramIsOfTheContainer: no descriptor of the stage leads the image's
// links, the program's path or the working directory to the host
// (CVE-2024-21626, CVE-2019-5736).
func TestProgramIsOfTheContainer(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "/evil")
	evil := filepath.Join(ct.facts.Rootfs, "evil")
	ct.spec.Process.NoNewPrivileges = false // with a filter, the lookup comes while there are all capabilities
	ct.facts.Seccomp = program(unix.SockFilter{Code: 0x06, K: 0x7fff0000})
	for fd := 3; fd < 40; fd++ {
		for _, path := range []string{"", "/self/root", "/1/root"} {
			via := "/proc/self/fd/" + itoa(fd) + path
			for _, terminal := range []bool{false, true} {
				ct.spec.Process.Terminal = terminal
				link(t, via+"/bin/busybox", evil)
				p := w.spawn(ct.plan(t))
				if point, err := p.Sync(w.context()); err == nil {
					t.Fatalf("a program of the host was found through %s: %v", via, point)
				}
				w.exit(p)
				p.Close()
				must(t, os.Remove(evil))
			}
		}
		link(t, "bin/busybox", evil)
		ct.spec.Process.Cwd = "/proc/self/fd/" + itoa(fd)
		p := w.spawn(ct.plan(t))
		if point, err := p.Sync(w.context()); err == nil {
			t.Fatalf("descriptor %d is a working directory: %v", fd, point)
		}
		w.exit(p)
		p.Close()
		must(t, os.Remove(evil))
		ct.spec.Process.Cwd = "/"
	}
}

// TestHome: HOME is the image's word, from a plain file of sane length only.
func TestHome(t *testing.T) {
	w := newWorld(t, 16)
	ct := newContainer(t, "sh", "-c", "echo $HOME")
	passwd := filepath.Join(ct.facts.Rootfs, "etc/passwd")
	const first = "root:x:0:0:root:/root:/bin/sh\n"
	for content, want := range map[string]string{
		first:                                    "/root",
		"a:x:1:1::/a:\n" + first:                 "/root",
		"root:x:0:0:root:/no/end":                "/no/end",
		"":                                       "/",
		"root:x:0\n":                             "/",
		"root:x:00000000000000000000:0::/x:":     "/x",
		strings.Repeat("x", 5000) + "\n" + first: "/root",
		strings.Repeat("u:x:7:7::/u:\n", 200000) + first:   "/",
		"root:x:0:0::/" + strings.Repeat("y", 600) + ":\n": "/",
		"root:x:4294967296:0::/big:\n":                     "/",
		"\x00\n:::::\n:" + first:                           "/",
	} {
		must(t, os.WriteFile(passwd, []byte(content), 0o644))
		if got, e := w.output(ct.plan(t), nil); got != want {
			t.Errorf("%.40q: got %q (%+v), want %q", content, got, e, want)
		}
	}
	must(t, os.Remove(passwd))
	for _, to := range []string{"/dev/zero", "/proc/kcore", "/proc/self/mem", "passwd", "/tmp"} {
		link(t, to, passwd)
		if got, e := w.output(ct.plan(t), nil); got != "/" || e.Status != 0 {
			t.Errorf("link to %s: got %q (%+v), want /", to, got, e)
		}
		must(t, os.Remove(passwd))
	}
	must(t, unix.Mkfifo(passwd, 0o644))
	if got, e := w.output(ct.plan(t), nil); got != "/" || e.Status != 0 {
		t.Errorf("fifo: got %q (%+v), want /", got, e)
	}
}
