// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// SysctlPath turns the name of a sysctl into its path below /proc/sys. The
// first separator decides: "net.ipv4.conf.eth0/1.forwarding" and
// "net/ipv4/conf/eth0.1/forwarding" are the same file, and an interface name
// may hold the other separator.
func SysctlPath(name string) string {
	i := strings.IndexAny(name, "./")
	if i < 0 || name[i] == '/' {
		return name
	}
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name)
}

// ipcSysctls are the ones of the IPC namespace, beside fs/mqueue.
var ipcSysctls = map[string]bool{
	"kernel/msgmax": true, "kernel/msgmnb": true, "kernel/msgmni": true, "kernel/sem": true,
	"kernel/shmall": true, "kernel/shmmax": true, "kernel/shmmni": true, "kernel/shm_rmid_forced": true,
}

// SysctlNamespace returns the kind of namespace that a sysctl, by its path
// below /proc/sys, belongs to; empty for those that are the whole host's.
func SysctlNamespace(p string) specs.LinuxNamespaceType {
	switch {
	case ipcSysctls[p] || strings.HasPrefix(p, "fs/mqueue/"):
		return specs.IPCNamespace
	case strings.HasPrefix(p, "net/"):
		return specs.NetworkNamespace
	case p == "kernel/domainname" || p == "kernel/hostname":
		return specs.UTSNamespace
	case strings.HasPrefix(p, "user/"):
		return specs.UserNamespace
	}
	return ""
}

// validateSysctls lets through only what belongs to a namespace that the
// container does not share with the host: /proc/sys holds both kinds, and a
// write to the other kind changes the host. Whether a namespace given by path
// is the host's own cannot be seen here: package plan has it as a fact.
func validateSysctls(s *Spec) error {
	for _, name := range sortedKeys(s.Linux.Sysctl) {
		at := fmt.Sprintf("linux.sysctl[%q]", name)
		p := SysctlPath(name)
		for _, part := range strings.Split(p, "/") {
			if part == "" || part == "." || part == ".." {
				return invalid(at, "is no name of a sysctl")
			}
		}
		kind := SysctlNamespace(p)
		switch {
		case kind == "" || p == "kernel/hostname" && !hasNamespace(s, kind):
			return invalid(at, "belongs to no namespace of the container")
		case p == "kernel/hostname":
			return invalid(at, "conflicts with the property hostname")
		case !hasNamespace(s, kind):
			article := "a"
			if kind == specs.IPCNamespace {
				article = "an"
			}
			return invalid(at, "needs %s %q namespace", article, kind)
		}
	}
	return nil
}
