// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"
	"slices"

	"foundry/bpf"
)

// ABI is the layout of the maps.
const ABI = bpf.ABI

// EndpointAt returns the name of the endpoint whose host's end has a number,
// as Drop.Endpoint has it; "" when there is none.
func (c *Control) EndpointAt(ifindex int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.have.byPort[ifindex]
}

// Capture begins to copy the frames of an endpoint (see OpenCapture), and
// returns where its host's end is.
func (c *Control) Capture(name string, snaplen int) (frames *Capture, ifindex int, err error) {
	c.mu.Lock()
	r, known := c.have.endpoints[name]
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, 0, ErrClosed
	case !known:
		err = ErrNotFound
	case r.Broken != "":
		err = fmt.Errorf("%w: it forwards nothing: %s", ErrNotFound, r.Broken)
	default:
		frames, err = OpenCapture(r.NetNS, r.Ifindex, snaplen)
	}
	if err != nil {
		return nil, 0, &ObjectError{Verb: "capture", Kind: KindEndpoint, Name: name, Err: err}
	}
	return frames, r.Ifindex, nil
}

// Reasons are all reasons that counters and drops may have, in order.
func (c *Control) Reasons() []string {
	var list []string
	for _, name := range c.names.Reasons {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
