// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"net/netip"
	"slices"
)

// apply returns s as it is after the delta.
func (delta Delta) apply(s State) State {
	if delta.HasUnderlay {
		s.Underlay = delta.Put.Underlay
	}
	s.Networks = replace(s.Networks, delta.Put.Networks, delta.DeleteNetworks, func(n Network) uint32 { return n.VNI })
	s.Endpoints = replace(s.Endpoints, delta.Put.Endpoints, delta.DeleteEndpoints, func(e Endpoint) int { return e.Ifindex })
	s.Peers = replace(s.Peers, delta.Put.Peers, delta.DeletePeers, func(p Peer) netip.Addr { return p.IP })
	s.Remotes = replace(s.Remotes, delta.Put.Remotes, delta.DeleteRemotes, func(r Remote) RemoteKey { return RemoteKey{r.VNI, r.MAC} })
	return s
}

func replace[T any, K comparable](have, put []T, gone []K, key func(T) K) []T {
	drop := map[K]bool{}
	for _, k := range gone {
		drop[k] = true
	}
	for _, v := range put {
		drop[key(v)] = true
	}
	kept := slices.DeleteFunc(slices.Clone(have), func(v T) bool { return drop[key(v)] })
	return append(kept, put...)
}
