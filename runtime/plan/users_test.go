// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

var (
	shifted = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 10}}
	double  = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 5, Size: 1}, {ContainerID: 1, HostID: 7, Size: 2}}
)

// usersSpec has namespaces, of which those with a colon are joined by path.
func usersSpec(names ...string) *specs.Spec {
	spec := testSpec()
	spec.Linux.Namespaces = nil
	for _, name := range names {
		kind, path, _ := strings.Cut(name, ":")
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind), Path: path})
		if name == "user" {
			spec.Linux.UIDMappings, spec.Linux.GIDMappings = shifted, shifted
		}
	}
	return spec
}

// TestNamespaces has every way in which user and pid namespaces come together,
// with others before and behind them in the spec.
func TestNamespaces(t *testing.T) {
	ops := []Op{OpSetns, OpUnshare, OpFork, OpMapUsers, OpRootUser, OpTime, OpLoopback, OpPropagate, OpRoot}
	for names, want := range map[string]string{
		"mount user":                       "unshare mount, propagate, map-users, root-user, unshare mount, root",
		"user mount pid":                   "unshare mount, propagate, map-users, root-user, unshare pid, fork, unshare mount, root",
		"pid:/p mount user":                "setns pid, unshare mount, propagate, map-users, root-user, fork, unshare mount, root",
		"user:/u pid mount":                "unshare mount, propagate, setns user, root-user, unshare pid, fork, unshare mount, root",
		"user:/u pid:/p mount":             "setns pid, unshare mount, propagate, setns user, root-user, fork, unshare mount, root",
		"user mount:/m":                    "setns mount, propagate, map-users, root-user, root",
		"user:/u mount:/m network:/n ipc":  "setns network, setns mount, propagate, setns user, root-user, unshare ipc, root",
		"user mount network time uts:/x":   "setns uts, unshare mount, propagate, map-users, root-user, unshare mount,network,time, time, loopback, root",
		"user mount time:/t cgroup":        "setns time, unshare mount, propagate, map-users, root-user, unshare mount,cgroup, root",
		"mount time network":               "unshare mount,network,time, time, loopback, propagate, root",
		"mount time:/t pid:/p":             "setns pid, fork, setns time, unshare mount, propagate, root",
		"mount pid uts ipc network cgroup": "unshare mount,uts,ipc,network,cgroup, loopback, propagate, root",
	} {
		p, err := New(usersSpec(strings.Fields(names)...), testFacts())
		if err != nil {
			t.Fatal(err)
		}
		checkEncodable(t, p)
		var got []string
		for i := range p.Steps {
			switch s := &p.Steps[i]; {
			case !slices.Contains(ops, s.Op):
			case s.Op == OpSetns || s.Op == OpUnshare:
				got = append(got, s.Op.String()+" "+words(s.A, cloneWords))
			default:
				got = append(got, s.Op.String())
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: got\n\t%s\nwant\n\t%s", names, text, want)
		}
	}
}

// TestExecJoinsAll: in whatever way the container came by its namespaces.
func TestExecJoinsAll(t *testing.T) {
	for names, want := range map[string]string{
		"mount user pid time":   "setns user,pid,mount,time root-user fork",
		"mount:/m user:/u":      "setns user,mount root-user",
		"mount network:/n uts":  "setns mount,uts,network",
		"mount pid cgroup time": "setns pid,mount,cgroup,time fork",
	} {
		spec := usersSpec(strings.Fields(names)...)
		p, err := NewExec(spec, spec.Process, testFacts())
		if err != nil {
			t.Fatal(err)
		}
		checkEncodable(t, p)
		got := strings.Replace(opSequence(p, []Op{OpSetns, OpRootUser, OpFork}), "setns", "setns "+words(p.Steps[0].A, cloneWords), 1)
		if got != want {
			t.Errorf("%s: got %s, want %s", names, got, want)
		}
	}
}

func TestUsersThatAreNotMapped(t *testing.T) {
	spec := usersSpec("user", "mount")
	process := *spec.Process
	process.User.GID = 10
	_, err := NewExec(spec, &process, testFacts())
	if err == nil || err.Error() != "process.user.gid: 10 is not in linux.gidMappings" {
		t.Errorf("got %v", err)
	}
}

func TestOOMScoreComesBeforeTheUserNamespace(t *testing.T) {
	spec, score := usersSpec("user", "mount"), -5
	spec.Process.OOMScoreAdj = &score
	check(t, "order", lines(t, spec, testFacts(), OpOOMScore, OpRootUser), "oom-score -5", "root-user")
}

// TestCapabilitiesOfAUserNamespace: they are all there, whatever the server
// has itself.
func TestCapabilitiesOfAUserNamespace(t *testing.T) {
	facts := testFacts()
	facts.Caps = 1
	for _, kind := range []string{"uts", "user"} {
		spec := usersSpec("mount", kind)
		spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_KILL"}}
		want := map[string]string{"uts": "bound none", "user": "bound kill"}[kind]
		check(t, kind, lines(t, spec, facts, OpBound), want)
	}
}

func TestIDMappedBinds(t *testing.T) {
	own := func(options ...string) specs.Mount {
		return specs.Mount{Destination: "/d", Source: "/s", Options: options, UIDMappings: shifted, GIDMappings: double}
	}
	for _, row := range []struct {
		names string
		mount specs.Mount
		want  []string
	}{
		{"mount", own("bind"), []string{"source [0] /s uids=0:1000:10 gids=0:5:1,1:7:2", "bind source[0] on /d"}},
		{"mount", own("rbind", "idmap", "ro"), []string{
			"source [0] /s rec uids=0:1000:10 gids=0:5:1,1:7:2", "bind source[0] on /d ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow",
		}},
		{"mount", own("rbind", "ridmap", "rro"), []string{
			"source [0] /s rec uids=0:1000:10 gids=0:5:1,1:7:2 (recursively)", "bind source[0] on /d ro (recursively)",
		}},
		{"mount user", specs.Mount{Destination: "/d", Source: "rel", Options: []string{"bind", "idmap"}}, []string{
			"source [0] /b/rel uids=0:1000:10 gids=0:1000:10", "bind source[0] on /d",
		}},
		{"mount user:/u", specs.Mount{Destination: "/d", Source: "/s", Options: []string{"bind", "idmap"}}, []string{
			"source [0] /s idmapped by file[0]", "bind source[0] on /d",
		}},
		{"mount user", specs.Mount{Destination: "/d", Source: "/s", Options: []string{"rbind", "nosuid", "rro", "rslave"}}, []string{
			"source [0] /s rec", "bind source[0] on /d nosuid clear=ro,nodev,noexec,nodiratime,nosymfollow propagation=slave,rec", "remount /d ro (recursively)",
		}},
	} {
		spec := usersSpec(strings.Fields(row.names)...)
		spec.Mounts = []specs.Mount{row.mount}
		check(t, fmt.Sprint(row.names, row.mount.Options), lines(t, spec, testFacts(), OpSource, OpBind, OpRemount), row.want...)
	}
}

// TestMoreMountsThanSources: those that need a map come first, the others do
// without.
func TestMoreMountsThanSources(t *testing.T) {
	spec := usersSpec("user", "mount")
	for i := range maxSources {
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: fmt.Sprintf("/%d", i), Source: "/s", Options: []string{"bind"}})
	}
	mapped := specs.Mount{Destination: "/m", Source: "/m", Options: []string{"bind", "idmap"}}
	spec.Mounts = append(spec.Mounts, mapped)
	got := lines(t, spec, testFacts(), OpBind)
	check(t, "the last ones", got[maxSources-2:], "bind source[62] on /62", "bind /s on /63", "bind source[63] on /m")

	for range maxSources {
		spec.Mounts = append(spec.Mounts, mapped)
	}
	if _, err := New(spec, testFacts()); err == nil || err.Error() != "mounts[128]: more than 64 mounts that are idmapped, or shared with the host, are not supported yet" {
		t.Errorf("got %v", err)
	}
}

func TestMappedRootfs(t *testing.T) {
	const maps = "uids=0:1000:10 gids=0:1000:10"
	options := func(more ...string) []string {
		return append([]string{"uidmap=0:1000:10", "gidmap=0:1000:10"}, more...)
	}
	for _, row := range []struct {
		mount Mount
		want  []string
	}{
		{Mount{Type: "overlay", Source: "overlay", Options: options(`lowerdir=/a:/a/b::/c\:d:/a`, "upperdir=/u")}, []string{
			"idmap-host /a/b on /a/b ro " + maps, "idmap-host /c:d on /c:d ro " + maps, "idmap-host /a on /a ro " + maps,
			`mount-host overlay overlay on /b/rootfs data lowerdir=/a:/a/b::/c\:d:/a,upperdir=/u`,
			"unmount-host /a", "unmount-host /c:d", "unmount-host /a/b", "root /b/rootfs",
		}},
		{Mount{Type: "bind", Source: "/s", Options: options("rbind", "ro", "rslave")}, []string{
			"mount-host bind /s on /b/rootfs bind,rec,ro", "idmap-host /b/rootfs on /b/rootfs rec " + maps + " (recursively)",
			`mount-host "" "" on /b/rootfs slave,rec`, "root /b/rootfs",
		}},
		{Mount{Type: "bind", Source: "/s", Target: "/t", Options: options("rbind", "ro")}, []string{
			"source [0] /s rec " + maps + " (recursively)", "root /b/rootfs", "bind source[0] on /t ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow",
		}},
		{Mount{Type: "erofs", Source: "/x.erofs", Options: []string{"ro", "loop", "direct-io"}}, []string{
			"mount-host erofs /x.erofs on /b/rootfs ro (through a loop device)", "root /b/rootfs",
		}},
	} {
		facts := testFacts()
		facts.RootfsMounts = []Mount{row.mount}
		check(t, fmt.Sprint(row.mount), lines(t, testSpec(), facts, OpIdmapHost, OpMountHost, OpUnmountHost, OpSource, OpBind, OpRoot), row.want...)
	}
}

func TestMappedRootfsRefusals(t *testing.T) {
	for want, m := range map[string]Mount{
		"rootfs[0].options: one of uidmap and gidmap is missing: the kernel maps both or none":       {Type: "overlay", Options: []string{"uidmap=0:1:2"}},
		"rootfs[0].options: uidmap=0:1 is not INSIDE:OUTSIDE:COUNT":                                  {Type: "overlay", Options: []string{"uidmap=0:1", "gidmap=0:1:2"}},
		"rootfs[0].options: gidmap=0:-1:2 is not INSIDE:OUTSIDE:COUNT":                               {Type: "overlay", Options: []string{"gidmap=0:-1:2"}},
		"rootfs[0].options: gidmap[1].hostID: overlaps with that of rootfs[0].options: gidmap[0]":    {Type: "overlay", Options: []string{"gidmap=0:1:2,2:2:1"}},
		`rootfs[0].options: "uidmap" below the root, on what is no bind mount, is not supported yet`: {Type: "overlay", Target: "/t", Options: []string{"uidmap=0:1:2", "gidmap=0:1:2"}},
	} {
		facts := testFacts()
		facts.RootfsMounts = []Mount{m}
		if _, err := New(testSpec(), facts); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", m, err, want)
		}
	}
}
