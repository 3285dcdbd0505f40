// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"foundry/runtime/cgroup"
)

// host is what plans depend on and what does not change while the server
// lives. It is probed once.
type host struct {
	cgroups cgroup.Info
	lastCap int
	caps    uint64 // that the server, and so the spawner, may give
	kcore   bool

	apparmor string // see probeAppArmor
	selinux  bool
}

func probe() (host, error) {
	h := host{apparmor: probeAppArmor("/"), selinux: probeSELinux("/")}
	var err error
	if h.cgroups, err = cgroup.Host(); err != nil {
		return h, err
	}
	if h.lastCap, err = lastCap(); err != nil {
		return h, err
	}
	if h.caps, err = boundingSet(); err != nil {
		return h, err
	}
	_, err = os.Stat("/proc/kcore")
	if h.kcore = err == nil; err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	return h, nil
}

func lastCap() (int, error) {
	const path = "/proc/sys/kernel/cap_last_cap"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}

func boundingSet() (uint64, error) {
	const path = "/proc/self/status"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if value, ok := bytes.CutPrefix(line, []byte("CapBnd:")); ok {
			return strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		}
	}
	return 0, fmt.Errorf("read %s: it has no CapBnd", path)
}
