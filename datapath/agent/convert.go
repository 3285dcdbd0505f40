// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"net/netip"

	"foundry/datapath"
	"foundry/datapath/agent/api"
)

// reader turns text into values and keeps the first mistake, so that a record
// is read in one go.
type reader struct {
	verb string
	kind datapath.Kind
	name string
	err  error
}

func (r *reader) fail(field, text, want string) {
	if r.err == nil {
		r.err = invalid(r.verb, r.kind, r.name, "%s %q is not %s", field, text, want)
	}
}

// addr reads an address; "" is none.
func (r *reader) addr(field, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" || ip.Is4In6() {
		r.fail(field, text, "an IPv4 or IPv6 address")
	}
	return ip
}

func (r *reader) addrs(field string, texts []string) (list []netip.Addr) {
	for _, text := range texts {
		if text == "" {
			r.fail(field, text, "an address")
		}
		list = append(list, r.addr(field, text))
	}
	return list
}

func (r *reader) prefix(field, text string) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		r.fail(field, text, "an address with a prefix length, like 10.0.0.2/24")
	}
	return p
}

// mac reads a MAC; "" is none.
func (r *reader) mac(text string) datapath.MAC {
	if text == "" {
		return datapath.MAC{}
	}
	m, err := datapath.ParseMAC(text)
	if err != nil {
		r.fail("MAC", text, "six bytes in hex with colons")
	}
	return m
}

func (r *reader) port(n uint32) uint16 {
	if n > 65535 {
		r.err = invalid(r.verb, r.kind, r.name, "port %d is more than 65535", n)
	}
	return uint16(n)
}

// choice looks a value up among those that are known; one of a newer client
// may not be.
func choice[V comparable](r *reader, field string, v V, names map[V]string) string {
	name, known := names[v]
	if !known && r.err == nil {
		r.err = invalid(r.verb, r.kind, r.name, "%s %v is not known to this server", field, v)
	}
	return name
}

// key is the value that has a name.
func key[V comparable](names map[V]string, name string) (v V) {
	for v, n := range names {
		if n == name {
			return v
		}
	}
	return v
}

var (
	modes = map[api.Mode]string{
		api.Mode_MODE_UNSPECIFIED: "", api.Mode_MODE_TCX: datapath.ModeTCX, api.Mode_MODE_XDP: datapath.ModeXDP,
	}
	encaps = map[api.Encap]string{
		api.Encap_ENCAP_UNSPECIFIED: datapath.EncapAuto, api.Encap_ENCAP_BPF: datapath.EncapBPF, api.Encap_ENCAP_KERNEL: datapath.EncapKernel,
	}
	choices = map[api.Choice]string{
		api.Choice_CHOICE_UNSPECIFIED: datapath.XDPAuto, api.Choice_CHOICE_ON: datapath.XDPOn, api.Choice_CHOICE_OFF: datapath.XDPOff,
	}
)

func networkRecord(n *api.Network) datapath.NetworkRecord {
	r := datapath.NetworkRecord{VNI: n.GetVni(), MTU: int(n.GetMtu())}
	if b := n.GetBroadcast(); b != nil {
		r.Broadcast = datapath.Broadcast{On: true, PerSecond: int(b.GetPerSecond()), Burst: int(b.GetBurst())}
	}
	return r
}

func apiNetwork(r datapath.NetworkRecord) *api.Network {
	n := &api.Network{Vni: r.VNI, Mtu: uint32(r.MTU)}
	if r.Broadcast.On {
		n.Broadcast = &api.Broadcast{PerSecond: uint32(r.Broadcast.PerSecond), Burst: uint32(r.Broadcast.Burst)}
	}
	return n
}

func endpointRecord(e *api.Endpoint) (datapath.EndpointRecord, error) {
	in := &reader{verb: "add", kind: datapath.KindEndpoint, name: e.GetName()}
	r := datapath.EndpointRecord{
		Name: e.GetName(), VNI: e.GetVni(), NetNS: e.GetNetns(), Ifname: e.GetIfname(), MAC: in.mac(e.GetMac()), MTU: int(e.GetMtu()),
		Mode: choice(in, "mode", e.GetMode(), modes), Trusted: e.GetTrusted(),
	}
	for _, text := range e.GetAddresses() {
		r.Addrs = append(r.Addrs, in.prefix("address", text))
	}
	for _, route := range e.GetRoutes() {
		r.Routes = append(r.Routes, datapath.Route{To: in.prefix("destination", route.GetDestination()), Via: in.addr("gateway", route.GetGateway())})
	}
	return r, in.err
}

func apiEndpoint(r datapath.EndpointRecord) *api.Endpoint {
	e := &api.Endpoint{
		Name: r.Name, Vni: r.VNI, Netns: r.NetNS, Ifname: r.Ifname, Mac: r.MAC.String(), Mtu: uint32(r.MTU), Mode: key(modes, r.Mode), Trusted: r.Trusted,
		Ifindex: uint32(r.Ifindex), HostIfname: r.HostName, Generation: r.Generation, Problem: r.Broken,
	}
	for _, p := range r.Addrs {
		e.Addresses = append(e.Addresses, p.String())
	}
	for _, route := range r.Routes {
		e.Routes = append(e.Routes, &api.Route{Destination: route.To.String(), Gateway: addrText(route.Via)})
	}
	return e
}

func addrText(ip netip.Addr) string {
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

func macText(m datapath.MAC) string {
	if m == (datapath.MAC{}) {
		return ""
	}
	return m.String()
}

func underlayRecord(u *api.Underlay) (datapath.UnderlayRecord, error) {
	in := &reader{verb: "set", kind: datapath.KindUnderlay, name: u.GetIfname()}
	r := datapath.UnderlayRecord{
		Ifname: u.GetIfname(), IPv4: in.addr("IPv4 address", u.GetIpv4()), IPv6: in.addr("IPv6 address", u.GetIpv6()), Port: in.port(u.GetPort()),
		Encap: choice(in, "encap", u.GetEncap(), encaps), XDP: choice(in, "xdp", u.GetXdp(), choices),
	}
	return r, in.err
}

func apiUnderlay(r datapath.UnderlayRecord) *api.Underlay {
	return &api.Underlay{
		Ifname: r.Ifname, Ipv4: addrText(r.IPv4), Ipv6: addrText(r.IPv6), Port: uint32(r.Port), Encap: key(encaps, r.Encap), Xdp: key(choices, r.XDP),
		Ifindex: uint32(r.Ifindex), Mtu: uint32(r.MTU), EncapUsed: key(encaps, r.Using), XdpUsed: r.Native, NoXdp: r.NoXDP, Mac: macText(r.MAC), Problem: r.Problem,
	}
}

func peerRecord(verb string, v *api.VTEP) (datapath.PeerRecord, error) {
	in := &reader{verb: verb, kind: datapath.KindPeer, name: v.GetAddress()}
	r := datapath.PeerRecord{IP: in.addr("address", v.GetAddress()), MTU: int(v.GetMtu()), Down: v.GetDown()}
	if !r.IP.IsValid() {
		in.fail("address", v.GetAddress(), "an IPv4 or IPv6 address")
	}
	return r, in.err
}

func apiVTEP(r datapath.PeerRecord) *api.VTEP {
	return &api.VTEP{
		Address: r.IP.String(), Mtu: uint32(r.MTU), Down: r.Down, NextHop: macText(r.NextHop), Stale: r.Stale, PathMtu: uint32(r.PathMTU), Problem: r.Problem,
	}
}

// remoteRecords reads all entries of a request, or finds the first mistake.
func remoteRecords(verb string, entries []*api.FDBEntry) ([]datapath.RemoteRecord, error) {
	list := make([]datapath.RemoteRecord, 0, len(entries))
	for _, e := range entries {
		in := &reader{verb: verb, kind: datapath.KindRemote, name: e.GetMac()}
		r := datapath.RemoteRecord{VNI: e.GetVni(), MAC: in.mac(e.GetMac()), Addrs: in.addrs("address", e.GetAddresses()), Peer: in.addr("VTEP", e.GetVtep())}
		if e.GetMac() == "" {
			in.fail("MAC", "", "six bytes in hex with colons")
		}
		if !r.Peer.IsValid() && verb == "add" {
			in.fail("VTEP", e.GetVtep(), "an IPv4 or IPv6 address")
		}
		if in.err != nil {
			return nil, in.err
		}
		list = append(list, r)
	}
	return list, nil
}

func apiRemote(r datapath.RemoteRecord) *api.FDBEntry {
	e := &api.FDBEntry{Vni: r.VNI, Mac: r.MAC.String(), Vtep: r.Peer.String()}
	for _, ip := range r.Addrs {
		e.Addresses = append(e.Addresses, ip.String())
	}
	return e
}

// apiLocal is the entry that an endpoint brings along.
func apiLocal(r datapath.EndpointRecord) *api.FDBEntry {
	e := &api.FDBEntry{Vni: r.VNI, Mac: r.MAC.String(), Endpoint: r.Name}
	for _, p := range r.Addrs {
		e.Addresses = append(e.Addresses, p.Addr().String())
	}
	return e
}
