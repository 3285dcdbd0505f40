// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	userNS = `"namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "uts"}]`
	maps   = `"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}]`
)

// patches wraps what goes into linux, or into the only mount.
func linux(fields ...string) string { return `{"linux": {` + strings.Join(fields, ", ") + `}}` }
func mount(fields string) string    { return `{"mounts": [{"destination": "/a", ` + fields + `}]}` }

func TestParseAcceptsTheRest(t *testing.T) {
	for name, patch := range map[string]string{
		"a new user namespace":      linux(userNS, maps),
		"a joined user namespace":   linux(`"namespaces": [{"type": "user", "path": "/u"}, {"type": "mount"}, {"type": "uts"}]`),
		"joined, with its maps":     linux(`"namespaces": [{"type": "user", "path": "/u"}, {"type": "mount"}, {"type": "uts"}]`, maps),
		"a time namespace":          linux(`"namespaces": [{"type": "time"}, {"type": "mount"}]`),
		"time offsets":              linux(`"namespaces": [{"type": "time"}, {"type": "mount"}]`, `"timeOffsets": {"monotonic": {"secs": -5, "nanosecs": 999999999}, "boottime": {}}`),
		"sysctl of users":           linux(userNS, maps, `"sysctl": {"user.max_net_namespaces": "1"}`),
		"idmap with maps":           mount(`"source": "/a", "options": ["bind"], ` + maps),
		"ridmap with maps":          mount(`"source": "/a", "options": ["rbind", "ridmap"], ` + maps),
		"tmpcopyup":                 mount(`"type": "tmpfs", "options": ["tmpcopyup"]`),
		"remount of any type":       mount(`"options": ["remount", "ro"]`),
		"remount of a bind":         mount(`"options": ["bind", "remount", "ro"]`),
		"remount of /proc":          `{"mounts": [{"destination": "/proc", "options": ["remount", "ro"]}]}`,
		"label of mounts":           linux(`"mountLabel": "system_u:object_r:container_file_t:s0:c1,c2"`),
		"labels":                    `{"process": {"apparmorProfile": "x", "selinuxLabel": "y"}}`,
		"an idle process":           `{"process": {"scheduler": {"policy": "SCHED_IDLE"}, "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}}`,
		"a process with a deadline": `{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2, "period": 3, "flags": ["SCHED_FLAG_RECLAIM"]}}}`,
		"affinity":                  `{"process": {"execCPUAffinity": {"initial": "0-3,7", "final": "8191"}}}`,
		"memory policy":             linux(`"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]}`),
		"personality":               linux(`"personality": {"domain": "LINUX32"}`),
		"all hooks":                 `{"hooks": {"createContainer": [{"path": "/x"}], "startContainer": [{"path": "/x"}]}}`,
		"seccomp notify":            linux(`"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/l", "listenerMetadata": "m", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}`),
	} {
		if _, err := Parse(change(t, patch)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseFindsInvalidKinds(t *testing.T) {
	user := func(uids string) string {
		return linux(userNS, `"uidMappings": [`+uids+`]`, `"gidMappings": [{"hostID": 1, "size": 1}]`)
	}
	for patch, want := range map[string]string{
		linux(maps):   `linux.uidMappings: needs a "user" namespace`,
		linux(userNS): `linux.uidMappings: missing, and a new "user" namespace needs it`,
		linux(userNS, `"uidMappings": [{"hostID": 1, "size": 1}]`): `linux.gidMappings: missing, and a new "user" namespace needs it`,
		user(`{"size": 0}`):                                                                "linux.uidMappings[0].size: is 0",
		user(`{"size": 4294967295, "containerID": 1}`):                                     "linux.uidMappings[0].containerID: 1 and 4294967295 more are beyond the last number",
		user(`{"size": 2, "hostID": 4294967295}`):                                          "linux.uidMappings[0].hostID: 4294967295 and 2 more are beyond the last number",
		user(`{"size": 2}, {"size": 2, "containerID": 1, "hostID": 7}`):                    "linux.uidMappings[1].containerID: overlaps with that of linux.uidMappings[0]",
		user(`{"size": 2, "hostID": 5}, {"size": 2, "containerID": 2, "hostID": 4}`):       "linux.uidMappings[1].hostID: overlaps with that of linux.uidMappings[0]",
		user(`{"size": 1, "containerID": 1}`):                                              "linux.uidMappings: 0 of the container is not mapped, and its root makes the mounts",
		user(strings.Repeat(`{"size": 1},`, 340) + `{"size": 1}`):                          "linux.uidMappings: 341 ranges are more than the 340 that the kernel takes",
		merged(t, user(`{"size": 1}`), `{"process": {"user": {"uid": 7}}}`):                "process.user.uid: 7 is not in linux.uidMappings",
		merged(t, user(`{"size": 1}`), `{"process": {"user": {"gid": 7}}}`):                "process.user.gid: 7 is not in linux.gidMappings",
		merged(t, user(`{"size": 1}`), `{"process": {"user": {"additionalGids": [0,7]}}}`): "process.user.additionalGids[1]: 7 is not in linux.gidMappings",

		linux(`"timeOffsets": {"monotonic": {"secs": 1}}`):                                                                   `linux.timeOffsets: needs a "time" namespace`,
		linux(`"namespaces": [{"type": "mount"}, {"type": "time", "path": "/t"}], "timeOffsets": {"monotonic": {}}`):         `linux.timeOffsets: the "time" namespace at "/t" has its own`,
		linux(`"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": {"realtime": {}}`):                        `linux.timeOffsets["realtime"]: is neither "monotonic" nor "boottime"`,
		linux(`"namespaces": [{"type": "mount"}, {"type": "time"}], "timeOffsets": {"monotonic": {"nanosecs": 1000000000}}`): `linux.timeOffsets["monotonic"].nanosecs: 1000000000 is a second or more`,
		linux(`"sysctl": {"user.max_net_namespaces": "1"}`):                                                                  `linux.sysctl["user.max_net_namespaces"]: needs a "user" namespace`,
		linux(`"personality": {"domain": "BSD"}`):                                                                            `linux.personality.domain: "BSD" is neither LINUX nor LINUX32`,
		linux(`"personality": {"domain": "LINUX", "flags": ["X"]}`):                                                          `linux.personality.flags[0]: "X" is no flag: the specification has none`,
		linux(`"memoryPolicy": {}`):                                                                                               "linux.memoryPolicy.mode: missing",
		linux(`"memoryPolicy": {"mode": "BIND"}`):                                                                                 `linux.memoryPolicy.mode: "BIND" is no memory policy`,
		linux(`"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-"}`):                                                             `linux.memoryPolicy.nodes: "0-" is no list like 0-3,7`,
		linux(`"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1024"}`):                                                           "linux.memoryPolicy.nodes: 1024 is beyond the 1024 that can be",
		linux(`"memoryPolicy": {"mode": "MPOL_BIND", "flags": ["X"]}`):                                                            `linux.memoryPolicy.flags[0]: "X" is no flag of a memory policy`,
		linux(`"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}`):                                                                  "linux.seccomp.listenerPath: missing, and SCMP_ACT_NOTIFY needs it, or the annotation foundry.seccomp.agent",
		linux(`"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}`):                                          "linux.seccomp.listenerMetadata: has no meaning without linux.seccomp.listenerPath",
		linux(`"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "l", "syscalls": [{"action": "SCMP_ACT_NOTIFY"}]}`): `linux.seccomp.listenerPath: "l" is not absolute`,

		mount(`"type": "ramfs", "options": ["tmpcopyup"]`):                                              `mounts[0].options: "tmpcopyup" has a meaning for a tmpfs only`,
		mount(`"type": "tmpfs", ` + maps):                                                               "mounts[0]: only a new bind mount can be idmapped",
		mount(`"source": "/s", "options": ["rbind", "ridmap"]`):                                         `mounts[0].options: an idmapped mount needs uidMappings and gidMappings, or a "user" namespace that has them`,
		mount(`"source": "/s", "options": ["bind"], "uidMappings": [{"size": 1}]`):                      "mounts[0].gidMappings: missing, and uidMappings go with them",
		mount(`"source": "/s", "options": ["bind"], "gidMappings": [{"size": 1}]`):                      "mounts[0].uidMappings: missing, and gidMappings go with them",
		mount(`"source": "/s", "options": ["bind"], "uidMappings": [{}], "gidMappings": [{"size": 1}]`): "mounts[0].uidMappings[0].size: is 0",

		`{"process": {"scheduler": {"policy": "FIFO"}}}`:                                    `process.scheduler.policy: "FIFO" is no scheduling policy`,
		`{"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}}`:                 "process.scheduler.nice: 20 is not between -20 and 19",
		`{"process": {"scheduler": {"policy": "SCHED_OTHER", "priority": 1}}}`:              `process.scheduler.priority: has no meaning for "SCHED_OTHER"`,
		`{"process": {"scheduler": {"policy": "SCHED_RR", "priority": 100}}}`:               "process.scheduler.priority: 100 is not between 0 and 99",
		`{"process": {"scheduler": {"policy": "SCHED_RR", "priority": 1, "period": 1}}}`:    `process.scheduler: runtime, deadline and period have no meaning for "SCHED_RR"`,
		`{"process": {"scheduler": {"policy": "SCHED_RR", "priority": 1, "flags": ["X"]}}}`: `process.scheduler.flags[0]: "X" is no flag of a scheduler`,
		`{"process": {"ioPriority": {"class": "X"}}}`:                                       `process.ioPriority.class: "X" is no class of I/O priorities`,
		`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}}}`:          "process.ioPriority.priority: 8 is not between 0 and 7",
		`{"process": {"execCPUAffinity": {"initial": "3-1"}}}`:                              `process.execCPUAffinity.initial: "3-1" is no list like 0-3,7`,
		`{"process": {"execCPUAffinity": {"final": "8192"}}}`:                               "process.execCPUAffinity.final: 8192 is beyond the 8192 that can be",
		`{"hooks": {"createContainer": [{"path": "x"}]}}`:                                   `hooks.createContainer[0].path: "x" is not absolute`,
		`{"hooks": {"startContainer": [{"path": "/x"}, {"path": "/x", "timeout": -1}]}}`:    "hooks.startContainer[1].timeout: -1 is not greater than zero",
	} {
		_, err := Parse(change(t, patch))
		var inv *InvalidError
		if !errors.As(err, &inv) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", patch, err, want)
		}
	}
}

// merged is a patch with two parts, of different objects.
func merged(t *testing.T, one, other string) string {
	t.Helper()
	return strings.TrimSuffix(one, "}") + ", " + strings.TrimPrefix(other, "{")
}

func TestHostID(t *testing.T) {
	list := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65535}}
	for id, want := range map[uint32]string{0: "1000 true", 1: "100000 true", 65535: "165534 true", 65536: "65536 false"} {
		host, ok := HostID(list, id)
		if got := fmt.Sprint(host, ok); got != want {
			t.Errorf("%d: got %s, want %s", id, got, want)
		}
	}
	if host, ok := HostID(nil, 7); host != 7 || !ok {
		t.Errorf("no map: got %d, %v", host, ok)
	}
	if got, want := MapText(list), "0 1000 1\n1 100000 65535\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMasks(t *testing.T) {
	for list, want := range map[string]string{
		"0":      "0100000000000000",
		"0-3,7":  "8f00000000000000",
		"1, 2":   "0600000000000000",
		"64":     "00000000000000000100000000000000",
		"63-64":  "00000000000000800100000000000000",
		"0-3 ,7": "8f00000000000000", "": "", "a": "", "-1": "", "1-": "", "1,": "", "99999999999": "",
	} {
		mask, err := CPUMask(list)
		if got := fmt.Sprintf("%x", mask); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %s, %v, want %s", list, got, err, want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	spec := &Spec{Annotations: map[string]string{
		"foundry.init": "true", "foundry.innit": "true", "foundry.": "", "foundryx": "", "io.kubernetes.cri.container-type": "sandbox",
	}}
	if got, want := UnknownAnnotations(spec), []string{"foundry.", "foundry.innit"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	last := ""
	for _, a := range Annotations() {
		if a.Doc == "" || a.Name <= last || strings.Contains(a.Doc, "\n") {
			t.Errorf("%+v: no line of text, or out of order", a)
		}
		last = a.Name
	}
}

// A value that means nothing is refused, also where nothing would come of it.
func TestAnnotationsOfNoMeaning(t *testing.T) {
	for _, tt := range []struct{ name, value, err string }{
		{InitAnnotation, "true", ""}, {InitAnnotation, "false", ""}, {AgentAnnotation, "log", ""}, {AgentAnnotation, "deny", ""},
		{InitAnnotation, "yes", `annotations["foundry.init"]: "yes" is neither true nor false`}, {InitAnnotation, "", "neither"},
		{AgentAnnotation, "Log", `annotations["foundry.seccomp.agent"]: "Log" is neither log nor deny`},
	} {
		err := validateAnnotations(&Spec{Annotations: map[string]string{tt.name: tt.value}})
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s=%q: got %v, want %q", tt.name, tt.value, err, tt.err)
		}
	}
}
