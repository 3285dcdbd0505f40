// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// minimal is the smallest spec that passes.
const minimal = `{
	"ociVersion": "1.2.1",
	"process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
	"root": {"path": "rootfs"},
	"linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]}
}`

// change merges a patch into minimal: objects are merged, all else replaced,
// and null removes.
func change(t testing.TB, patch string) []byte {
	t.Helper()
	var base, extra map[string]any
	if err := json.Unmarshal([]byte(minimal), &base); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(patch), &extra); err != nil {
		t.Fatal(err)
	}
	merge(base, extra)
	out, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func merge(base, extra map[string]any) {
	for k, v := range extra {
		object, isObject := v.(map[string]any)
		old, wasObject := base[k].(map[string]any)
		switch {
		case v == nil:
			delete(base, k)
		case isObject && wasObject:
			merge(old, object)
		default:
			base[k] = v
		}
	}
}

func TestParseAccepts(t *testing.T) {
	for name, patch := range map[string]string{
		"minimal":                "{}",
		"a later minor version":  `{"ociVersion": "1.9.0-rc.1+dev"}`,
		"unknown properties":     `{"future": {"x": 1}, "linux": {"future": [1]}, "annotations": {"a/b": "c"}}`,
		"username of Windows":    `{"process": {"user": {"username": "x"}}}`,
		"unconfined":             `{"process": {"apparmorProfile": "unconfined"}}`,
		"empty sections":         `{"linux": {"timeOffsets": {}, "netDevices": {}, "uidMappings": []}, "hooks": {"startContainer": []}}`,
		"unknown capability":     `{"process": {"capabilities": {"bounding": ["CAP_FUTURE"]}}}`,
		"relative destination":   `{"mounts": [{"destination": "data", "type": "tmpfs", "source": "tmpfs"}]}`,
		"bind by option":         `{"mounts": [{"destination": "/a", "type": "ignored", "source": "/b", "options": ["rbind", "rro"]}]}`,
		"bind of /proc":          `{"mounts": [{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]}`,
		"lxcfs":                  `{"mounts": [{"destination": "/proc/meminfo", "type": "bind", "source": "/lxcfs/meminfo", "options": ["bind"]}]}`,
		"all namespaces by path": `{"linux": {"namespaces": [{"type": "mount"}, {"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "cgroup"}]}}`,
		"sysctls":                `{"linux": {"sysctl": {"net.core.somaxconn": "1", "net/ipv4/conf/eth0.1/forwarding": "1", "kernel.sem": "1", "fs.mqueue.msg_max": "1", "kernel.domainname": "d"}}}`,
		"devices":                `{"linux": {"devices": [{"path": "/dev/x", "type": "p"}, {"path": "/dev/y", "type": "u", "major": 4095, "minor": 1048575}]}}`,
		"hooks":                  `{"hooks": {"prestart": [{"path": "/x"}], "poststop": [{"path": "/x", "timeout": 1}]}}`,
	} {
		if _, err := Parse(change(t, patch)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestParseRefuses has a row for each property that Foundry does not apply.
func TestParseRefuses(t *testing.T) {
	for patch, want := range map[string]string{
		`{"ociVersion": "2.0.0"}`: `ociVersion: version "2.0.0" is not supported yet`,
		`{"windows": {}}`:         "windows: not supported yet",
		`{"vm": {}}`:              "vm: not supported yet",
		`{"solaris": {}}`:         "solaris: not supported yet",
		`{"zos": {}}`:             "zos: not supported yet",
		`{"freebsd": {}}`:         "freebsd: not supported yet",

		`{"process": {"commandLine": "x"}}`:                   "process.commandLine: not supported: it is for Windows; give process.args",
		`{"process": {"scheduler": {"policy": "SCHED_ISO"}}}`: `process.scheduler.policy: "SCHED_ISO" is not supported: Linux never had it`,

		`{"linux": {"namespaces": [{"type": "uts"}]}}`: `linux.namespaces: containers without a "mount" namespace are not supported: their mounts and their root would be the host's own`,
		`{"linux": {"intelRdt": {}}}`:                  "linux.intelRdt: writing to resctrl is not supported yet",
		`{"linux": {"netDevices": {"eth0": {}}}}`:      "linux.netDevices: moving links, which network plugins and createRuntime hooks do, is not supported yet",
	} {
		_, err := Parse(change(t, patch))
		var unsupported *UnsupportedError
		if !errors.As(err, &unsupported) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", patch, err, want)
		}
	}
}

func TestParseFindsInvalid(t *testing.T) {
	for patch, want := range map[string]string{
		`{"ociVersion": null}`:     "ociVersion: missing",
		`{"ociVersion": "latest"}`: `ociVersion: "latest" is no semantic version`,
		`{"ociVersion": "1.-2.0"}`: `ociVersion: "1.-2.0" is no semantic version`,
		`{"process": null}`:        "process: missing",
		`{"linux": null}`:          "linux: missing",
		`{"root": null}`:           "root: missing",
		`{"root": {"path": ""}}`:   "root.path: missing",

		`{"process": {"args": []}}`:                                                            "process.args: missing",
		`{"process": {"args": [""]}}`:                                                          "process.args[0]: names no program",
		`{"process": {"args": "true"}}`:                                                        "process.args: a JSON string where []string is expected",
		`{"process": {"args": ["a", "b\u0000"]}}`:                                              "process.args[1]: contains a NUL character",
		`{"process": {"cwd": "tmp"}}`:                                                          `process.cwd: "tmp" is not absolute`,
		`{"process": {"env": ["A=1", "B"]}}`:                                                   `process.env[1]: "B" is not NAME=VALUE`,
		`{"process": {"env": ["=1"]}}`:                                                         `process.env[0]: "=1" is not NAME=VALUE`,
		`{"process": {"oomScoreAdj": 1001}}`:                                                   "process.oomScoreAdj: 1001 is not between -1000 and 1000",
		`{"process": {"user": {"umask": 512}}}`:                                                "process.user.umask: 01000 has bits beyond 0777",
		`{"process": {"rlimits": [{"type": "RLIMIT_X"}]}}`:                                     `process.rlimits[0].type: "RLIMIT_X" is no resource limit of Linux`,
		`{"process": {"rlimits": [{"type": "RLIMIT_AS"}, {"type": "RLIMIT_AS"}]}}`:             `process.rlimits[1].type: "RLIMIT_AS" is given twice`,
		`{"process": {"rlimits": [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}]}}`:              "process.rlimits[0].soft: 2 is above the hard limit 1",
		`{"hooks": {"poststart": [{"path": "/a"}, {"path": "b"}]}}`:                            `hooks.poststart[1].path: "b" is not absolute`,
		`{"hooks": {"createRuntime": [{"path": "/a", "timeout": 0}]}}`:                         "hooks.createRuntime[0].timeout: 0 is not greater than zero",
		`{"hostname": "h", "linux": {"namespaces": [{"type": "mount"}]}}`:                      `hostname: needs a "uts" namespace`,
		`{"domainname": "d", "linux": {"namespaces": [{"type": "mount"}]}}`:                    `domainname: needs a "uts" namespace`,
		`{"linux": {"namespaces": [{"type": "mount"}, {"type": "mount"}]}}`:                    `linux.namespaces[1].type: "mount" is given twice`,
		`{"linux": {"namespaces": [{"type": "netns"}]}}`:                                       `linux.namespaces[0].type: "netns" is no namespace type`,
		`{"linux": {"namespaces": [{"type": "mount", "path": "ns"}]}}`:                         `linux.namespaces[0].path: "ns" is not absolute`,
		`{"linux": {"rootfsPropagation": "open"}}`:                                             `linux.rootfsPropagation: "open" is no propagation mode`,
		`{"linux": {"maskedPaths": ["/a", "b"]}}`:                                              `linux.maskedPaths[1]: "b" is not absolute`,
		`{"linux": {"readonlyPaths": ["b"]}}`:                                                  `linux.readonlyPaths[0]: "b" is not absolute`,
		`{"linux": {"devices": [{"path": "x", "type": "c"}]}}`:                                 `linux.devices[0].path: "x" is not absolute`,
		`{"linux": {"devices": [{"path": "/", "type": "c"}]}}`:                                 "linux.devices[0].path: is the root directory",
		`{"linux": {"devices": [{"path": "/x", "type": "d"}]}}`:                                `linux.devices[0].type: "d" is none of c, b, u and p`,
		`{"linux": {"devices": [{"path": "/x", "type": "c", "major": 4096}]}}`:                 "linux.devices[0].major: 4096 is not between 0 and 4095",
		`{"linux": {"devices": [{"path": "/x", "type": "c", "minor": -1}]}}`:                   "linux.devices[0].minor: -1 is not between 0 and 1048575",
		`{"mounts": [{"destination": "", "type": "tmpfs"}]}`:                                   "mounts[0].destination: missing",
		`{"mounts": [{"destination": "/a/..", "type": "tmpfs"}]}`:                              `mounts[0].destination: "/a/.." is the root directory`,
		`{"mounts": [{"destination": "/a"}]}`:                                                  "mounts[0].type: missing",
		`{"mounts": [{"destination": "/a", "type": "bind"}]}`:                                  "mounts[0].source: missing",
		`{"mounts": [{"destination": "/proc/../proc/sys", "type": "tmpfs"}]}`:                  `mounts[0].destination: "/proc/sys" is inside /proc`,
		`{"mounts": [{"destination": "/proc", "type": "tmpfs"}]}`:                              `mounts[0].destination: only a file system of type proc, or a bind of /proc, may be mounted on "/proc"`,
		`{"mounts": [{"destination": "/proc", "type": "bind", "source": "/x"}]}`:               `mounts[0].destination: only a file system of type proc, or a bind of /proc, may be mounted on "/proc"`,
		`{"linux": {"sysctl": {"kernel.core_pattern": "x"}}}`:                                  `linux.sysctl["kernel.core_pattern"]: belongs to no namespace of the container`,
		`{"linux": {"sysctl": {"net/../kernel/core_pattern": "x"}}}`:                           `linux.sysctl["net/../kernel/core_pattern"]: is no name of a sysctl`,
		`{"linux": {"sysctl": {"net.//.kernel": "x"}}}`:                                        `linux.sysctl["net.//.kernel"]: is no name of a sysctl`,
		`{"linux": {"sysctl": {"kernel.hostname": "x"}}}`:                                      `linux.sysctl["kernel.hostname"]: conflicts with the property hostname`,
		`{"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"net.core.somaxconn": ""}}}`: `linux.sysctl["net.core.somaxconn"]: needs a "network" namespace`,
		`{"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"kernel.shmall": ""}}}`:      `linux.sysctl["kernel.shmall"]: needs an "ipc" namespace`,
		`{"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"kernel.domainname": ""}}}`:  `linux.sysctl["kernel.domainname"]: needs a "uts" namespace`,
		`{"linux": {"sysctl": {"a\u0000b": ""}}}`:                                              `linux.sysctl["a\x00b"]: contains a NUL character`,
	} {
		_, err := Parse(change(t, patch))
		var inv *InvalidError
		if !errors.As(err, &inv) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", patch, err, want)
		}
	}
}

func TestParseNamesSyntaxErrors(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "{} x", "null"} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}

func TestParseProcess(t *testing.T) {
	p, err := ParseProcess([]byte(`{"cwd": "/", "args": ["a"], "future": 1, "env": ["A=\\u0000"]}`))
	if err != nil || p.Args[0] != "a" {
		t.Errorf("got %v, %v", p, err)
	}
	for text, want := range map[string]string{
		`{"cwd": "/"}`: "process.args: missing",
		`{"cwd": 1}`:   "process.cwd: a JSON number where string is expected",
		`{"cwd": "/", "args": ["a"], "scheduler": {}}`:            "process.scheduler.policy: missing",
		`{"cwd": "/", "args": ["a"], "env": ["A=b", "B=\u0000"]}`: "process.env[1]: contains a NUL character",
	} {
		if _, err := ParseProcess([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	bundle := t.TempDir()
	if _, err := Load(bundle); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(bundle, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(minimal)
	spec, err := Load(bundle)
	if err != nil || spec.Process.Args[0] != "true" {
		t.Errorf("got %v, %v", spec, err)
	}
	write(strings.Replace(minimal, `"linux": {`, `"linux": {"intelRdt": {},`, 1))
	if _, err = Load(bundle); err == nil || err.Error() != "config.json: linux.intelRdt: writing to resctrl is not supported yet" {
		t.Errorf("got %v", err)
	}
}

func TestSysctlPath(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":             "net/ipv4/ip_forward",
		"net/ipv4/conf/eth0.1/forwarding": "net/ipv4/conf/eth0.1/forwarding",
		"net.ipv4.conf.eth0/1.forwarding": "net/ipv4/conf/eth0.1/forwarding",
		"plain":                           "plain",
		"":                                "",
	} {
		if got := SysctlPath(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
