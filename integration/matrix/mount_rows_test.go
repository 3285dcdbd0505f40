// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const mountRows = 130

// Words of mount options that runtimes know.
var (
	plainWords = []string{"ro", "rw", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "noatime", "atime", "nodiratime", "diratime",
		"relatime", "norelatime", "strictatime", "nostrictatime", "sync", "async", "dirsync", "mand", "nomand", "defaults"}
	treeWords = []string{"rro", "rrw", "rnosuid", "rsuid", "rnodev", "rdev", "rnoexec", "rexec", "rnodiratime", "rdiratime",
		"rrelatime", "rnorelatime", "rnoatime", "rstrictatime"}
	refusedWords     = []string{"ratime", "rnostrictatime"} // by runc, which asks the kernel for what is not a mode
	propagationWords = []string{"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}
)

// mountFeature adds mounts to the default ones. SRC in a source is the
// directory of sources.
func mountFeature(word string, mounts ...specs.Mount) feature {
	return feature{word: word, edit: func(s *specs.Spec, x *run) error {
		for _, m := range mounts {
			m.Source = strings.Replace(m.Source, "SRC", x.src(""), 1)
			s.Mounts = append(s.Mounts, m)
		}
		return nil
	}}
}

func bind(kind, source, destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "bind", Source: "SRC/" + source, Options: append([]string{kind}, options...)}
}

func tmpfs(destination string, options ...string) specs.Mount {
	return specs.Mount{Destination: destination, Type: "tmpfs", Source: "tmpfs", Options: options}
}

// wordMounts are the mounts that show what options do: on a tree of mounts
// that have attributes, on a device, on a new file system.
func wordMounts(n int, words []string) []specs.Mount {
	at := func(kind string) string { return fmt.Sprintf("/m/%d-%s-%s", n, kind, strings.Join(words, "-")) }
	tree := slices.ContainsFunc(words, func(w string) bool { return slices.Contains(treeWords, w) })
	out := []specs.Mount{bind("rbind", "tree", at("rbind"), words...), bind("bind", "plain", at("bind"), words...)}
	if !tree && !slices.Contains(words, "defaults") {
		out = append(out, tmpfs(at("tmpfs"), words...))
	}
	return out
}

// wordRows are each word alone, some to a row, then pairs.
func wordRows() []row {
	var rows []row
	for _, words := range [][]string{plainWords, treeWords, propagationWords, refusedWords[:1], refusedWords[1:]} {
		for chunk := range slices.Chunk(words, 6) {
			r := row{}
			for i, w := range chunk {
				r.add(mountFeature(w, wordMounts(i, []string{w})...))
			}
			rows = append(rows, r)
		}
	}
	random := rand.New(rand.NewPCG(80, 1))
	all := slices.Concat(plainWords, plainWords, treeWords, propagationWords)
	for range 26 {
		r := row{}
		for i := range 6 {
			pair := []string{all[random.IntN(len(all))], all[random.IntN(len(all))]}
			if pair[0][0] == 'r' && pair[1][0] == 'r' && strings.HasSuffix(pair[0], "time") && strings.HasSuffix(pair[1], "time") {
				pair = pair[:1] // two modes at once: refused by runc
			}
			r.add(mountFeature(strings.Join(pair, ","), wordMounts(i, pair)...))
		}
		rows = append(rows, r)
	}
	return rows
}

// mountMatrix are wordRows and those that need more to be said; what remains
// is mixed from the latter.
func mountMatrix() []row {
	rows := wordRows()
	special := specialMounts()
	for _, f := range special {
		r := row{}
		r.add(f)
		rows = append(rows, r)
	}
	for i := len(rows); i < mountRows; i++ {
		random := rand.New(rand.NewPCG(uint64(i), 30))
		r := row{}
		if users := userNamespaceFeatures(); i%5 < 2 { // and their owner is another
			r.add(users[i%3/2*2]) // a range, or the identity
		}
		for range 3 {
			if f := special[random.IntN(len(special))]; !f.fails && !slices.Contains(r.words, f.word) && !r.forbids(f) {
				r.add(f)
			}
		}
		rows = append(rows, r)
	}
	for i := range rows {
		rows[i].name = fmt.Sprintf("mount-%03d", i)
	}
	return rows
}

func specialMounts() []feature {
	return slices.Concat(tmpfsMounts(), kernelMounts(), targetMounts(), cgroupMounts(), idmapMounts(), deviceFeatures())
}

func tmpfsMounts() []feature {
	return []feature{
		mountFeature("tmpfs size", tmpfs("/m/a", "size=64k", "mode=1777", "nosuid"), tmpfs("/m/b", "mode=700", "uid=1000", "gid=1001", "nr_inodes=100")),
		mountFeature("tmpfs over image", tmpfs("/hidden"), tmpfs("/tmp", "mode=0700")),
		failing(mountFeature("tmpfs bad size", tmpfs("/m/a", "size=huge"))),
		failing(mountFeature("tmpfs unknown option", tmpfs("/m/a", "nosuch=1"))),
		prepared("tmpcopyup", fillDirectory, tmpfs("/m/full", "tmpcopyup", "mode=755"), tmpfs("/m/none", "tmpcopyup", "size=1m")),
		failing(prepared("tmpcopyup fifo", fillFifo, tmpfs("/m/full", "tmpcopyup"))),
		prepared("tmpcopyup ro", fillDirectory, tmpfs("/m/full", "tmpcopyup", "ro", "mode=755")),
	}
}

// prepared changes the root before the mounts are made.
func prepared(word string, prepare func(root string) error, mounts ...specs.Mount) feature {
	f := mountFeature(word, mounts...)
	add := f.edit
	f.edit = func(s *specs.Spec, x *run) error {
		if err := prepare(x.rootfs); err != nil {
			return err
		}
		return add(s, x)
	}
	return f
}

func fillDirectory(root string) error {
	d := filepath.Join(root, "m/full")
	if err := os.MkdirAll(filepath.Join(d, "sub/deep"), 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d, "sub/file"), []byte("content"), 0o640); err != nil {
		return err
	}
	if err := os.Chown(filepath.Join(d, "sub/file"), 12, 34); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(d, "sub/file"), 0o755|os.ModeSetuid); err != nil {
		return err
	}
	return os.Symlink("/etc/passwd", filepath.Join(d, "link"))
}

func fillFifo(root string) error {
	d := filepath.Join(root, "m/full")
	return errors.Join(os.MkdirAll(d, 0o755), syscall.Mkfifo(filepath.Join(d, "fifo"), 0o600))
}

func kernelMounts() []feature {
	return []feature{
		mountFeature("proc", specs.Mount{Destination: "/k/proc", Type: "proc", Source: "proc", Options: []string{"ro", "hidepid=2"}}),
		mountFeature("sysfs", specs.Mount{Destination: "/k/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "ro"}}),
		mountFeature("mqueue", specs.Mount{Destination: "/m/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"noexec"}}),
		mountFeature("devpts", specs.Mount{Destination: "/m/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0600", "mode=0600", "gid=5"}}),
		failing(mountFeature("unknown file system", specs.Mount{Destination: "/m/x", Type: "nosuch", Source: "x"})),
		failing(mountFeature("no type", specs.Mount{Destination: "/m/x", Source: "SRC/plain"})),
		failing(mountFeature("rbind type", specs.Mount{Destination: "/m/x", Type: "rbind", Source: "SRC/tree"})),
	}
}

// targetMounts are about destinations and sources.
func targetMounts() []feature {
	link := func(to string) func(string) error {
		return func(root string) error { return os.Symlink(to, filepath.Join(root, "m/link")) }
	}
	return []feature{
		prepared("link inside", link("/hidden"), bind("bind", "plain", "/m/link/new")),
		prepared("link upwards", link("../../../hidden"), bind("bind", "plain", "/m/link")),
		prepared("link to nowhere", link("/made/late"), bind("bind", "plain", "/m/link")),
		failing(prepared("link loop", link("link"), bind("bind", "plain", "/m/link"))),
		mountFeature("nested", tmpfs("/m/a"), bind("rbind", "tree", "/m/a/b"), bind("bind", "plain", "/m/a/b/sub/c"), tmpfs("/m/a/d/e", "mode=711")),
		failing(mountFeature("nested read-only", tmpfs("/m/a", "ro"), tmpfs("/m/a/b"))),
		mountFeature("stacked", tmpfs("/m/a"), bind("bind", "plain", "/m/a"), tmpfs("/m/a", "noexec")),
		mountFeature("relative destination", bind("bind", "plain", "m/rel")),
		mountFeature("odd destination", bind("bind", "plain", "/m/../m//odd/./x/")),
		failing(mountFeature("root destination", bind("bind", "scratch", "/"))),
		failing(mountFeature("absent source", bind("bind", "absent", "/m/a"))),
		mountFeature("link source", bind("bind", "link", "/m/a")),
		mountFeature("file on new path", bind("bind", "file", "/m/deep/er/file"), bind("bind", "file", "/probe2", "ro")),
		failing(mountFeature("file on directory", bind("bind", "file", "/tmp"))),
		failing(mountFeature("directory on file", bind("bind", "plain", "/secret"))),
		mountFeature("device", specs.Mount{Destination: "/m/null", Type: "bind", Source: "/dev/null", Options: []string{"bind", "ro"}}),
		mountFeature("shared source", bind("rbind", "shared", "/m/s"), bind("rbind", "shared", "/m/t", "rslave")),
		failing(mountFeature("remount", tmpfs("/m/a", "nosuid"), specs.Mount{Destination: "/m/a", Type: "tmpfs", Source: "tmpfs", Options: []string{"remount", "ro", "size=8k"}})),
		failing(mountFeature("remount bind", bind("bind", "plain", "/m/a"), bind("bind", "plain", "/m/a", "remount", "ro", "nosuid"))),
		mountFeature("dev read-only", specs.Mount{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "ro", "mode=755"}}),
	}
}

func cgroupMounts() []feature {
	mount := func(options ...string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys/fs/cgroup" })
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: options})
		}
	}
	private := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	return []feature{
		plain("cgroup ro", func(s *specs.Spec) { dropNS(s, "cgroup"); mount("ro", "nosuid", "noexec", "nodev")(s) }),
		plain("cgroup rw", func(s *specs.Spec) { dropNS(s, "cgroup"); mount("rw", "relatime")(s) }),
		plain("cgroup ro, private", func(s *specs.Spec) { dropNS(s, "cgroup"); private(s); mount("ro", "nosuid", "noexec", "nodev")(s) }),
		plain("cgroup rw, private", func(s *specs.Spec) { dropNS(s, "cgroup"); private(s); mount("rw", "nosuid")(s) }),
	}
}

func idmapMounts() []feature {
	maps := []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 5000, Size: 10}, {ContainerID: 0, HostID: 0, Size: 1}}
	mapped := func(word string, m specs.Mount) feature {
		m.UIDMappings, m.GIDMappings = maps, maps
		return mountFeature(word, m)
	}
	return []feature{
		failing(mapped("idmap", bind("bind", "owned", "/m/i", "idmap"))),
		failing(mapped("ridmap", bind("rbind", "owned", "/m/i", "ridmap"))),
		failing(mapped("mappings alone", bind("bind", "owned", "/m/i"))),
		failing(mountFeature("idmap without mappings", bind("bind", "owned", "/m/i", "idmap"))),
	}
}

func deviceFeatures() []feature {
	device := func(path, kind string, major, minor int64) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: kind, Major: major, Minor: minor}
	}
	owned := device("/dev/mine", "c", 1, 5)
	owned.FileMode, owned.UID, owned.GID = ptr(os.FileMode(0o640)), ptr[uint32](1000), ptr[uint32](5)
	return []feature{
		plain("devices", func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{owned, device("/dev/fuse", "c", 10, 229), device("/dev/deep/block", "b", 7, 0), device("/dev/pipe", "p", 0, 0)}
		}),
		plain("default device", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/dev/null", "c", 1, 3)} }),
		failing(plain("device of no kind", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/dev/x", "z", 1, 3)} })),
		plain("device outside dev", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/m/null", "u", 1, 3)} }),
		plain("device over file", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{device("/secret", "c", 1, 3)} }),
		plain("no dev mount", func(s *specs.Spec) {
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return strings.HasPrefix(m.Destination, "/dev") })
			s.Linux.MaskedPaths = []string{"/secret", "/hidden"} // by what, is the question
		}),
		failing(plain("no mounts but proc", func(s *specs.Spec) {
			s.Mounts = slices.DeleteFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination != "/proc" })
		})),
	}
}
