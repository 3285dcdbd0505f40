// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestScheduling(t *testing.T) {
	spec := testSpec()
	spec.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT, Priority: 7}
	spec.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0-2", Final: "64"}
	spec.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
	for _, row := range []struct {
		scheduler specs.Scheduler
		policy    specs.LinuxMemoryPolicy
		want      []string
	}{
		{
			specs.Scheduler{Policy: specs.SchedOther, Nice: -20}, specs.LinuxMemoryPolicy{Mode: specs.MpolDefault},
			[]string{"scheduler other nice=-20", "io-priority rt 7", "personality LINUX", "mem-policy default"},
		},
		{
			specs.Scheduler{Policy: specs.SchedFIFO, Priority: 9, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork, specs.SchedFlagUtilClampMax}},
			specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1-2,65", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes, specs.MpolFNumaBalancing}},
			[]string{"scheduler fifo flags=0x41 priority=9", "io-priority rt 7", "personality LINUX", "mem-policy bind,numa_balancing,static_nodes nodes=1-2,65"},
		},
		{
			specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1, Deadline: 2, Period: 3}, specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave, Nodes: "0"},
			[]string{"scheduler deadline runtime=1 deadline=2 period=3", "io-priority rt 7", "personality LINUX", "mem-policy weighted_interleave nodes=0"},
		},
	} {
		spec.Process.Scheduler, spec.Linux.MemoryPolicy = &row.scheduler, &row.policy
		check(t, string(row.scheduler.Policy), lines(t, spec, testFacts(), OpScheduler, OpIOPriority, OpPersonality, OpMemPolicy, OpAffinity), row.want...)
	}

	p, err := NewExec(spec, &specs.Process{Cwd: "/", Args: []string{"true"}}, hybridFacts())
	if err != nil {
		t.Fatal(err)
	}
	checkEncodable(t, p)
	want := "affinity cgroup1 cgroup1 cgroup1 cgroup1 affinity scheduler io-priority personality mem-policy bound"
	if got := opSequence(p, []Op{OpAffinity, OpCgroup1, OpScheduler, OpIOPriority, OpPersonality, OpMemPolicy, OpBound}); got != want {
		t.Errorf("exec: got %s, want %s", got, want)
	}
	if got := p.Steps[0].String() + ", " + p.Steps[5].String(); got != "affinity cpus 0-2, affinity cpus 64" {
		t.Error(got)
	}
}

func TestLabels(t *testing.T) {
	for _, row := range []struct {
		profile, selinux string
		facts            Facts
		want             string
	}{
		{"", "", Facts{AppArmor: "attr/apparmor/exec", SELinux: true}, ""},
		{"p", "", Facts{AppArmor: "attr/exec"}, "label attr/exec = \"exec p\""},
		{"unconfined", "", Facts{AppArmor: "attr/exec"}, "label attr/exec = \"exec unconfined\""},
		{"unconfined", "", Facts{}, ""},
		{"", "l:s0", Facts{SELinux: true}, "label attr/keycreate = l:s0, label attr/exec = l:s0"},
		{"", "l:s0", Facts{SELinux: true, NoNewKeyring: true}, "label attr/exec = l:s0"},
		{"p", "", Facts{SELinux: true}, `process.apparmorProfile: "p" is not supported: this host has no AppArmor (leave the profile out, or boot with apparmor among lsm=)`},
		{"", "l", Facts{AppArmor: "attr/exec"}, `process.selinuxLabel: "l" is not supported: this host has no SELinux (leave the label out, or boot with selinux among lsm=)`},
	} {
		spec := testSpec()
		spec.Process.ApparmorProfile, spec.Process.SelinuxLabel = row.profile, row.selinux
		for _, make := range []func() (*Plan, error){
			func() (*Plan, error) { return New(spec, row.facts) },
			func() (*Plan, error) { return NewExec(spec, &specs.Process{Cwd: "/", Args: []string{"x"}}, row.facts) },
		} {
			p, err := make()
			var got []string
			for i := 0; p != nil && i < len(p.Steps); i++ {
				if p.Steps[i].Op == OpLabel {
					got = append(got, p.Steps[i].String())
				}
			}
			if err != nil {
				got = append(got, err.Error())
			}
			if text := strings.Join(got, ", "); text != row.want {
				t.Errorf("%+v: got %s, want %s", row, text, row.want)
			}
		}
	}
}

func TestLabelComesBeforeLookupAndFilter(t *testing.T) {
	for nnp, want := range map[bool]string{true: "user label lookup ready seccomp exec", false: "label lookup ready seccomp user exec"} {
		spec, facts := testSpec(), testFacts()
		seccomp(&facts)
		labels(&facts)
		spec.Process.NoNewPrivileges, spec.Process.ApparmorProfile = nnp, "p"
		p, err := New(spec, facts)
		if err != nil {
			t.Fatal(err)
		}
		checkEncodable(t, p)
		if got := opSequence(p, []Op{OpLabel, OpLookup, OpReady, OpSeccomp, OpUser, OpExec}); got != want {
			t.Errorf("nnp %v: got %s, want %s", nnp, got, want)
		}
	}
}

func TestMountLabel(t *testing.T) {
	spec, facts := testSpec(), testFacts()
	facts.SELinux = true
	spec.Linux.MountLabel = "u:r:t:s0:c1,c2"
	for _, kind := range []string{"proc", "sysfs", "tmpfs", "mqueue", "devpts"} {
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/" + kind, Type: kind, Source: kind})
	}
	check(t, "labels", lines(t, spec, facts, OpMount),
		"mount proc proc on /proc", "mount sysfs sysfs on /sysfs", "mount tmpfs tmpfs on /tmpfs data context=u:r:t:s0:c1,c2",
		"mount mqueue mqueue on /mqueue", "mount devpts devpts on /devpts data context=u:r:t:s0:c1,c2")
	if _, err := New(spec, testFacts()); err == nil || !strings.HasPrefix(err.Error(), `linux.mountLabel: "u:r:t:s0:c1,c2" is not supported: this host has no SELinux`) {
		t.Errorf("got %v", err)
	}
}

func TestSysctlsOfTheHost(t *testing.T) {
	spec, facts := usersSpec("mount", "network:/n", "ipc"), testFacts()
	facts.HostNamespaces = cloneNet
	spec.Linux.Sysctl = map[string]string{"kernel.sem": "1"}
	check(t, "another kind", lines(t, spec, facts, OpSysctl), "sysctl kernel/sem = 1")
	spec.Linux.Sysctl["net.core.somaxconn"] = "1"
	if _, err := New(spec, facts); err == nil || err.Error() != `linux.sysctl["net.core.somaxconn"]: the "network" namespace at "/n" is the host's own` {
		t.Errorf("got %v", err)
	}
}

func TestHooksAndTheirPlaces(t *testing.T) {
	spec, facts := testSpec(), testFacts()
	allHooks(&facts)
	spec.Linux.Sysctl = map[string]string{"net.a": "1"}
	spec.Mounts = []specs.Mount{{Destination: "/d", Type: "tmpfs"}}
	check(t, "hooks", lines(t, spec, facts, OpHooks, OpMount, OpSymlink, OpSysctl, OpPivot, OpReady, OpCaps, OpExec)[6:],
		"hooks create-runtime", "hooks create-container", "sysctl net/a = 1", "pivot",
		"caps effective=permitted=none inheritable=none ambient=none", "ready", "hooks start-container", "exec [true] env [HOME=/]")
	p, err := NewExec(spec, spec.Process, facts)
	if err != nil || opSequence(p, []Op{OpHooks}) != "" {
		t.Errorf("an exec stops for hooks: %v", err)
	}
}

func TestHelperJoins(t *testing.T) {
	for mask, want := range map[uint64]string{
		0: "", cloneMount | cloneNet: "setns", clonePID | cloneMount: "setns fork", cloneUser | clonePID: "setns root-user fork",
	} {
		p := NewHelper(Helper{Path: "/x", Join: mask})
		checkEncodable(t, p)
		if got := opSequence(p, []Op{OpSetns, OpRootUser, OpFork, OpUser}); got != want {
			t.Errorf("%#x: got %s, want %s", mask, got, want)
		}
	}
}

// TestHelperHasNoListener: the flags that go with one would make the filter
// fail.
func TestHelperHasNoListener(t *testing.T) {
	facts := testFacts()
	listener(&facts)
	facts.SeccompFlags = filterWaitKillable | 4
	p := NewHelper(Helper{Path: "/x", As: &specs.Process{NoNewPrivileges: true}, Facts: facts})
	checkEncodable(t, p)
	for _, s := range p.Steps {
		if s.Op == OpSeccomp && (s.Flags != 0 || s.A != 4) {
			t.Errorf("got %s", &s)
		}
	}
	if got, want := opSequence(p, []Op{OpNoNewPrivs, OpUser, OpSeccomp}), "no-new-privs user seccomp"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRemount(t *testing.T) {
	base := map[string]specs.Mount{
		"fs":    {Destination: "/d", Type: "ext4", Source: "/s", Options: []string{"ro"}},
		"tmpfs": {Destination: "/d", Type: "tmpfs", Source: "t"},
		"bind":  {Destination: "/d", Source: "/s", Options: []string{"bind"}},
	}
	for _, row := range []struct{ base, options, want string }{
		{"tmpfs", "remount,ro", "remount /d ro clear=nosuid,nodev,noexec,nosymfollow"},
		{"tmpfs", "remount,size=2m,nosuid", "remount /d nosuid clear=ro,nodev,noexec,nosymfollow data size=2m"},
		{"tmpfs", "remount,noatime", "remount /d noatime clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow"},
		{"tmpfs", "remount,relatime", "remount /d relatime clear=ro,nosuid,nodev,noexec,nodiratime,nosymfollow"},
		{"tmpfs", "remount,nodiratime", "remount /d nodiratime relatime clear=ro,nosuid,nodev,noexec,nosymfollow"},
		{"fs", "remount,rw,noexec", "remount /d noexec clear=ro,nosuid,nodev,nosymfollow data rw"},
		{"fs", "remount,bind,rw", "remount /d clear=ro,nosuid,nodev,noexec,nosymfollow"},
		{"bind", "remount,nodev", "remount /d nodev clear=ro,nosuid,noexec,nosymfollow"},
		{"bind", "remount,rslave", "remount /d clear=ro,nosuid,nodev,noexec,nosymfollow propagation=slave,rec"},
		{"bind", "remount,rro", "remount /d clear=ro,nosuid,nodev,noexec,nosymfollow; remount /d ro (recursively)"},
	} {
		spec := testSpec()
		spec.Mounts = []specs.Mount{base[row.base], {Destination: "/d/", Options: strings.Split(row.options, ",")}}
		if got := strings.Join(lines(t, spec, testFacts(), OpRemount), "; "); got != row.want {
			t.Errorf("%s, %s: got %s, want %s", row.base, row.options, got, row.want)
		}
	}
}

// TestReadonlyDev: the nodes are made first, by whatever words it is asked.
func TestReadonlyDev(t *testing.T) {
	dev := func(kind string, options ...string) specs.Mount {
		return specs.Mount{Destination: "/dev/", Type: kind, Source: "/dev", Options: options}
	}
	for want, mounts := range map[string][]specs.Mount{
		"mount tmpfs /dev on /dev, mknod, remount /dev ro":                                                     {dev("tmpfs", "ro")},
		"mount tmpfs /dev on /dev nosuid, mknod, remount /dev ro":                                              {dev("tmpfs", "rro", "nosuid")},
		"mount tmpfs /dev on /dev noexec, mknod":                                                               {dev("tmpfs", "noexec", "ro", "rw")},
		"bind /dev on /dev ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow":                                {dev("bind", "ro")},
		"mount tmpfs /dev on /dev, remount /dev clear=nosuid,nodev,noexec,nosymfollow, mknod, remount /dev ro": {dev("tmpfs"), dev("", "remount", "ro")},
	} {
		spec := testSpec()
		spec.Mounts = mounts
		spec.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/p", Type: "p"}}
		var got []string
		for _, line := range lines(t, spec, testFacts(), OpMount, OpBind, OpRemount, OpMknod) {
			if strings.HasPrefix(line, "mknod") {
				line = "mknod"
			}
			if len(got) == 0 || got[len(got)-1] != line {
				got = append(got, line)
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("got\n\t%s\nwant\n\t%s", text, want)
		}
	}
}

func TestMoreMountOptions(t *testing.T) {
	for _, row := range []struct{ kind, options, want string }{
		{"ext4", "iversion", "mount ext4 /s on /d data i_version"},
		{"ext4", "iversion,noiversion", "mount ext4 /s on /d"},
		{"xfs", "iversion,nofail,_netdev,auto,x-systemd.automount,X-mount.mkdir=0700,comment=c", "mount xfs /s on /d"},
		{"tmpfs", "tmpcopyup,ro", "mount tmpfs /s on /d ro (with what was there)"},
		{"erofs", "loop,ro,user_xattr", "mount erofs /s on /d ro data user_xattr,ro (through a loop device)"},
	} {
		spec := testSpec()
		spec.Mounts = []specs.Mount{{Destination: "/d", Type: row.kind, Source: "/s", Options: strings.Split(row.options, ",")}}
		check(t, fmt.Sprint(row), lines(t, spec, testFacts(), OpMount), row.want)
	}
}

func TestCgroupMountsInAUserNamespace(t *testing.T) {
	mount := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}}
	facts := testFacts()
	unified(&facts)
	for names, want := range map[string]string{
		"user mount":              "source [0] /sys/fs/cgroup rec, bind source[0] on /sys/fs/cgroup ro clear=nosuid,nodev,noexec,nodiratime,nosymfollow",
		"user mount cgroup":       "mount cgroup2 cgroup on /sys/fs/cgroup ro data ro",
		"user:/u mount cgroup:/c": "mount cgroup2 cgroup on /sys/fs/cgroup ro data ro",
		"mount":                   "mount cgroup2 cgroup on /sys/fs/cgroup ro data ro",
	} {
		spec := usersSpec(strings.Fields(names)...)
		spec.Mounts = []specs.Mount{mount}
		if got := strings.Join(lines(t, spec, facts, OpMount, OpBind, OpSource), ", "); got != want {
			t.Errorf("%s: got %s, want %s", names, got, want)
		}
	}
}

// TestReadonlyTmpfs: what is mounted below finds its mount point made.
func TestReadonlyTmpfs(t *testing.T) {
	tmpfs := func(dest string, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Type: "tmpfs", Source: "t", Options: options}
	}
	for _, row := range []struct {
		name   string
		mounts []specs.Mount
		want   []string
	}{
		{"nothing below", []specs.Mount{tmpfs("/a", "ro"), tmpfs("/ab")}, []string{"mount tmpfs t on /a ro", "mount tmpfs t on /ab"}},
		{"a mount below", []specs.Mount{tmpfs("/a", "ro", "nosuid"), tmpfs("/a/b", "rro")},
			[]string{"mount tmpfs t on /a nosuid", "mount tmpfs t on /a/b ro", "remount /a ro"}},
		{"writable", []specs.Mount{tmpfs("/a"), tmpfs("/a/b")}, []string{"mount tmpfs t on /a", "mount tmpfs t on /a/b"}},
		{"covered", []specs.Mount{tmpfs("/a", "ro"), tmpfs("/a"), tmpfs("/a/b")},
			[]string{"mount tmpfs t on /a", "mount tmpfs t on /a", "mount tmpfs t on /a/b"}},
	} {
		spec := testSpec()
		spec.Mounts = row.mounts
		check(t, row.name, lines(t, spec, testFacts(), OpMount, OpRemount), row.want...)
	}
}
