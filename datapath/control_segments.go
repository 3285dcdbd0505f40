// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"fmt"

	"foundry/datapath/veth"
)

// segments is how large a frame of many segments an endpoint may send: what
// the uplink takes whole, and where nothing leaves this host, as much as there
// is. The kernel's sockets leave room for more headers than ours.
func (h *records) segments() int {
	u := h.underlay
	switch {
	case u == nil:
		return veth.MostGSO
	case u.Using == EncapKernel:
		return veth.LeastGSO // nobody says more of the VXLAN device
	}
	return cmp.Or(u.GSO, veth.LeastGSO)
}

// resizeLocked tells endpoints that there are of another size. Nobody waits
// for it: what is too large until then is cut up, not lost.
func (c *Control) resizeLocked(was int) {
	size := c.have.segments()
	if size == was {
		return
	}
	var list []EndpointRecord
	for _, r := range c.have.endpoints {
		list = append(list, r)
	}
	c.work.Go(func() {
		for _, r := range list {
			if err := r.resize(size); err != nil {
				c.log.Warn("an endpoint does not follow what the uplink takes", "endpoint", r.Name, "error", err)
			}
		}
	})
}

// resize does it in the endpoint's namespace, if that is still there. XDP has
// no frames of many segments.
func (r EndpointRecord) resize(size int) error {
	if r.Broken != "" || r.Mode == ModeXDP {
		return nil
	}
	ns, err := veth.OpenNS(r.NetNS)
	if err != nil {
		return err
	}
	defer ns.Close()
	if id, err := identity(ns); err != nil {
		return err
	} else if id != r.NetNSID {
		return fmt.Errorf("%s names another namespace now", r.NetNS)
	}
	return veth.SetGSO(ns, r.Ifname, size)
}
