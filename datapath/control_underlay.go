// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"foundry/bpf"
	"foundry/datapath/veth"
)

// resolveWithin is how long a call waits for a next hop. Until it is known
// the kernel finds it for each frame.
const resolveWithin = 250 * time.Millisecond

// SetUnderlay says where tunnels go out.
func (c *Control) SetUnderlay(ctx context.Context, r UnderlayRecord) (UnderlayRecord, error) {
	r, err := c.setUnderlay(ctx, r)
	if err != nil {
		return UnderlayRecord{}, objectError("set", KindUnderlay, r.Ifname, err)
	}
	return r, nil
}

func (c *Control) setUnderlay(ctx context.Context, r UnderlayRecord) (UnderlayRecord, error) {
	r, err := r.complete()
	if err != nil {
		return r, err
	}
	uplink, err := veth.UplinkOf(r.Ifname)
	if err != nil {
		return r, errors.Join(ErrNotFound, err)
	}
	if r, err = r.observe(uplink); err != nil {
		return r, err
	}
	if r.Problem != "" {
		return r, invalid("%s", r.Problem)
	}
	if r, err = c.encap(ctx, r); err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.familiesLocked(r); err != nil {
		return r, err
	}
	if was := c.have.underlay; was != nil {
		r = r.after(*was)
		if *was == r {
			return r, nil
		}
	}
	return c.putUnderlayLocked(r, "")
}

// complete checks an underlay in itself.
func (r UnderlayRecord) complete() (UnderlayRecord, error) {
	r = UnderlayRecord{Ifname: r.Ifname, IPv4: r.IPv4, IPv6: r.IPv6, Port: cmp.Or(r.Port, bpf.DefaultPort),
		Encap: cmp.Or(r.Encap, EncapAuto), XDP: cmp.Or(r.XDP, XDPAuto)}
	r.Auto = !r.IPv4.IsValid() && !r.IPv6.IsValid()
	switch {
	case !slices.Contains([]string{EncapAuto, EncapBPF, EncapKernel}, r.Encap):
		return r, invalid("encapsulation %q is none of %s, %s, %s", r.Encap, EncapAuto, EncapBPF, EncapKernel)
	case !slices.Contains([]string{XDPAuto, XDPOn, XDPOff}, r.XDP):
		return r, invalid("XDP %q is none of %s, %s, %s", r.XDP, XDPAuto, XDPOn, XDPOff)
	case r.IPv4.IsValid() && !r.IPv4.Is4(), r.IPv6.IsValid() && !r.IPv6.Is6():
		return r, invalid("addresses %v and %v are not of IPv4 and IPv6", r.IPv4, r.IPv6)
	}
	for _, ip := range []netip.Addr{r.IPv4, r.IPv6} {
		if ip.IsValid() {
			if err := checkAddr(ip); err != nil {
				return r, err
			}
		}
	}
	return r, checkIfname(r.Ifname)
}

// observe fills in what the device says. What it lacks is the record's
// Problem; what it cannot do is an error.
func (r UnderlayRecord) observe(u veth.Uplink) (UnderlayRecord, error) {
	r.Ifname, r.Ifindex, r.MTU, r.MAC, r.GSO, r.Problem = u.Name, u.Ifindex, u.MTU, u.MAC, u.GSO, ""
	r.Native, r.NoXDP = u.NativeXDP && r.XDP != XDPOff, ""
	switch {
	case r.XDP != XDPAuto:
	case !u.NativeXDP:
		r.NoXDP = fmt.Sprintf("the driver %q of %s does not run it", u.Driver, u.Name)
	case u.Driver == "veth": // only who asks gets it
		r.Native, r.NoXDP = false, "on a veth it takes segmentation offload from the other end"
	}
	if r.XDP == XDPOn && !u.NativeXDP {
		return r, invalid("XDP is to be on, but the driver %q of %s does not run it", u.Driver, u.Name)
	}
	if r.Auto {
		r.IPv4, r.IPv6 = first(u.Addrs, netip.Addr.Is4), first(u.Addrs, netip.Addr.Is6)
		if !r.IPv4.IsValid() && !r.IPv6.IsValid() {
			r.Problem = fmt.Sprintf("%s has no address", u.Name)
		}
	}
	for _, ip := range []netip.Addr{r.IPv4, r.IPv6} {
		if ip.IsValid() && !here(ip) {
			r.Problem = fmt.Sprintf("no device of this host has the address %v", ip)
		}
	}
	switch {
	case !u.Up:
		r.Problem = fmt.Sprintf("%s is down", u.Name)
	case r.MTU < minMTU6+bpf.Overhead6:
		r.Problem = fmt.Sprintf("%s has MTU %d: with outer headers of %d it leaves less than the %d that IPv6 needs", u.Name, r.MTU, bpf.Overhead6, minMTU6)
	}
	return r, nil
}

// after is an underlay as it follows another: whether the same device runs XDP
// was found out when it was attached.
func (r UnderlayRecord) after(was UnderlayRecord) UnderlayRecord {
	if r.XDP == was.XDP && r.XDP == XDPAuto && r.Ifindex == was.Ifindex {
		r.Native, r.NoXDP = was.Native, was.NoXDP
	}
	return r
}

func first(list []netip.Prefix, family func(netip.Addr) bool) netip.Addr {
	for _, p := range list {
		if ip := p.Addr(); family(ip) && !ip.IsLinkLocalUnicast() && checkAddr(ip) == nil {
			return ip
		}
	}
	return netip.Addr{}
}

// here says whether a device of this host has an address: a VTEP's may be on
// the loopback device.
func here(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == ip
	})
}

// familiesLocked: a peer of IPv4 needs an address of IPv4 here.
func (c *Control) familiesLocked(r UnderlayRecord) error {
	for ip := range c.have.peers {
		if ip.Is4() && !r.IPv4.IsValid() || ip.Is6() && !r.IPv6.IsValid() {
			return &ObjectError{Err: fmt.Errorf("%w: it has no address of the family of %v", ErrInUse, ip), Owner: "peer " + ip.String(),
				Remedy: "give it one, or delete the peer first"}
		}
	}
	return nil
}

// putUnderlayLocked puts the underlay and, as their headers are made of it,
// all peers; then their next hops are looked for anew.
func (c *Control) putUnderlayLocked(r UnderlayRecord, why string) (UnderlayRecord, error) {
	err := c.switchUnderlayLocked(r, why)
	if err != nil && r.Native && r.XDP == XDPAuto {
		r.Native, r.NoXDP = false, err.Error()
		err = c.switchUnderlayLocked(r, why)
	}
	if err == nil && r.NoXDP != "" {
		c.log.Info("the uplink is used without XDP", "device", r.Ifname, "cause", r.NoXDP)
	}
	c.todo.allPeers = true
	c.wake()
	return r, err
}

func (c *Control) switchUnderlayLocked(r UnderlayRecord, why string) error {
	next := c.have
	next.underlay = &r
	do, undo := Delta{HasUnderlay: true}, Delta{HasUnderlay: true}
	do.Put.Underlay = r.state()
	var was UnderlayRecord
	if c.have.underlay != nil {
		was = *c.have.underlay
		undo.Put.Underlay = was.state()
	}
	for _, p := range c.have.peers {
		do.Put.Peers = append(do.Put.Peers, next.peer(p))
		undo.Put.Peers = append(undo.Put.Peers, c.have.peer(p))
	}
	size := c.have.segments()
	err := c.changeLocked(do, undo, edit{record: r, note: why})
	c.resizeLocked(size)
	if err != nil {
		was, r = r, was
	}
	c.dropTunnel(was, r)
	return err
}

// tunnel makes the device that the kernel needs to write outer headers, or
// finds it.
func (c *Control) tunnel(r UnderlayRecord) (UnderlayRecord, error) {
	r.Tunnel = 0
	name := c.tunnelName(r)
	if name == "" {
		return r, nil
	}
	var err error
	if r.Tunnel, err = veth.CollectMD(name, r.Port); err != nil {
		return r, fmt.Errorf("%w (choose another port, or encapsulation %s)", err, EncapBPF)
	}
	return r, nil
}

// tunnelName is the device's, which is another one for each port; "" where
// none is needed.
func (c *Control) tunnelName(r UnderlayRecord) string {
	if r.Using != EncapKernel {
		return ""
	}
	return fmt.Sprintf("%sv%d", c.prefix(), r.Port)
}

// dropTunnel removes the device of an underlay that another came after.
func (c *Control) dropTunnel(was, now UnderlayRecord) {
	name := c.tunnelName(was)
	if name == "" || name == c.tunnelName(now) {
		return
	}
	if err := veth.DeleteVXLAN(name); err != nil {
		c.log.Error("a device stays that nobody needs", "error", err)
	}
}

// encap chooses who writes outer headers.
func (c *Control) encap(ctx context.Context, r UnderlayRecord) (UnderlayRecord, error) {
	r.Using = r.Encap
	if r.Encap == EncapAuto {
		able, err := c.Capabilities(ctx)
		if err != nil {
			return r, err
		}
		r.Using = able.Encap
	}
	return c.tunnel(r)
}

// Capabilities says what this host can do, which is found out by doing it
// when somebody asks for the first time.
func (c *Control) Capabilities(ctx context.Context) (Capabilities, error) {
	c.probing.Lock()
	defer c.probing.Unlock()
	if c.able.Encap != "" {
		return c.able, nil
	}
	able, err := Probe(ctx)
	if err == nil {
		c.able = able
	}
	return able, err
}

// DeleteUnderlay ends tunnels. It is refused while there are peers; absent is
// success.
func (c *Control) DeleteUnderlay(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.have.underlay == nil {
		return nil
	}
	r := *c.have.underlay
	for ip := range c.have.peers {
		return objectError("delete", KindUnderlay, r.Ifname, &ObjectError{Err: ErrInUse, Owner: "peer " + ip.String(), Remedy: "delete the peers first"})
	}
	undo := Delta{HasUnderlay: true, Put: State{Underlay: r.state()}}
	defer c.resizeLocked(c.have.segments())
	if err := c.changeLocked(Delta{HasUnderlay: true}, undo, edit{record: r, deleted: true}); err != nil {
		return objectError("delete", KindUnderlay, r.Ifname, err)
	}
	c.dropTunnel(r, UnderlayRecord{})
	return nil
}

// resolve fills in how a peer is reached now. When nobody knows, what was
// known stays, and the kernel finds the way frame by frame.
func (c *Control) resolve(ctx context.Context, r PeerRecord) PeerRecord {
	u, ok := c.Underlay()
	if !ok {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	hop, err := veth.Resolve(ctx, r.IP)
	switch {
	case err != nil:
		r.Stale, r.Problem = true, err.Error()
	case hop.Ifindex != u.Ifindex:
		r.Stale, r.Problem = true, fmt.Sprintf("the way to it is through device %d, not through the uplink %s", hop.Ifindex, u.Ifname)
	default:
		r.Stale, r.Problem, r.NextHop, r.PathMTU = false, "", hop.Remote, hop.MTU
	}
	r.PathMTU = c.pathMTU(r.IP, r.PathMTU)
	return r
}
