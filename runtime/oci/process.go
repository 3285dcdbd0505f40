// SPDX-License-Identifier: Apache-2.0

package oci

import (
	"fmt"
	"path"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// validateProcess serves the container's own process and those of execs.
// process.user.username is for Windows, and ignored as runc does.
func validateProcess(p *specs.Process) error {
	if p.CommandLine != "" {
		return &UnsupportedError{Path: "process.commandLine", Why: "it is for Windows; give process.args"}
	}
	if len(p.Args) == 0 {
		return invalid("process.args", "missing")
	}
	if p.Args[0] == "" {
		return invalid("process.args[0]", "names no program")
	}
	if !path.IsAbs(p.Cwd) {
		return invalid("process.cwd", "%q is not absolute", p.Cwd)
	}
	for i, env := range p.Env {
		if strings.IndexByte(env, '=') < 1 {
			return invalid(fmt.Sprintf("process.env[%d]", i), "%q is not NAME=VALUE", env)
		}
	}
	if p.User.Umask != nil && *p.User.Umask > 0o777 {
		return invalid("process.user.umask", "%#o has bits beyond 0777", *p.User.Umask)
	}
	if adj := p.OOMScoreAdj; adj != nil && (*adj < -1000 || *adj > 1000) {
		return invalid("process.oomScoreAdj", "%d is not between -1000 and 1000", *adj)
	}
	for _, err := range []error{
		validateRlimits(p.Rlimits), validateScheduler(p.Scheduler), validateIOPriority(p.IOPriority), validateAffinity(p.ExecCPUAffinity),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// rlimits are those that Linux has; package plan knows their numbers.
var rlimits = map[string]bool{
	"RLIMIT_AS": true, "RLIMIT_CORE": true, "RLIMIT_CPU": true, "RLIMIT_DATA": true, "RLIMIT_FSIZE": true,
	"RLIMIT_LOCKS": true, "RLIMIT_MEMLOCK": true, "RLIMIT_MSGQUEUE": true, "RLIMIT_NICE": true, "RLIMIT_NOFILE": true,
	"RLIMIT_NPROC": true, "RLIMIT_RSS": true, "RLIMIT_RTPRIO": true, "RLIMIT_RTTIME": true, "RLIMIT_SIGPENDING": true,
	"RLIMIT_STACK": true,
}

func validateRlimits(limits []specs.POSIXRlimit) error {
	seen := make(map[string]bool, len(limits))
	for i, l := range limits {
		at := fmt.Sprintf("process.rlimits[%d]", i)
		switch {
		case !rlimits[l.Type]:
			return invalid(at+".type", "%q is no resource limit of Linux", l.Type)
		case seen[l.Type]:
			return invalid(at+".type", "%q is given twice", l.Type)
		case l.Soft > l.Hard:
			return invalid(at+".soft", "%d is above the hard limit %d", l.Soft, l.Hard)
		}
		seen[l.Type] = true
	}
	return nil
}
