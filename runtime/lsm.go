// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"bytes"
	"os"
)

// probeAppArmor is the file below /proc/self in which AppArmor takes the profile
// of the next exec, "" on a host without it.
func probeAppArmor(root string) string {
	on, err := os.ReadFile(root + "sys/module/apparmor/parameters/enabled")
	if err != nil || !bytes.HasPrefix(on, []byte("Y")) {
		return ""
	}
	// Since Linux 5.8 each module has files of its own, and attr/exec belongs
	// to whichever of them comes first.
	const own = "attr/apparmor/exec"
	if _, err := os.Stat(root + "proc/self/" + own); err == nil {
		return own
	}
	return "attr/exec"
}

// probeSELinux says whether the host has SELinux.
func probeSELinux(root string) bool {
	_, err := os.Stat(root + "sys/fs/selinux/enforce")
	return err == nil
}
