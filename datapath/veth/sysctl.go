// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	confIPv4 = "/proc/sys/net/ipv4/conf"
	confIPv6 = "/proc/sys/net/ipv6/conf"
)

// setting is one sysctl of a device.
type setting struct{ name, value string }

// Of the container's end, when it has IPv6 addresses. Whoever gave it them
// knows that they are nobody else's and where its routers are: the wait for
// other owners and the search for routers would only cost the first second.
// A namespace may have IPv6 off for new devices, which is not meant for one
// that is given addresses of it.
var insideIPv6 = []setting{{"disable_ipv6", "0"}, {"accept_dad", "0"}, {"accept_ra", "0"}}

// sysctl sets a device up in the namespace of the caller.
func sysctl(conf, device string, settings []setting) error {
	for _, s := range settings {
		err := os.WriteFile(filepath.Join(conf, device, s.name), []byte(s.value), 0)
		if errors.Is(err, os.ErrNotExist) && conf == confIPv6 {
			return fmt.Errorf("%w (the kernel has IPv6 off: leave its addresses out)", err)
		} else if err != nil {
			return fmt.Errorf("%w (/proc/sys must be writable)", err)
		}
	}
	return nil
}
