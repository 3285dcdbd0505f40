// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"fmt"

	"github.com/safchain/ethtool"
)

// What a device needs that is to be sent XDP frames: NAPI, which GRO brings,
// or it drops them all and counts nothing; and finished checksums in what it
// sends, because a frame cannot say that its checksum is still to be made.
const (
	featureGRO = "rx-gro"
	featureSum = "tx-checksum-ip-generic"
)

// prepareXDP sets a device up, in the namespace of the caller.
func prepareXDP(name string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer e.Close()
	if err := e.Change(name, map[string]bool{featureGRO: true, featureSum: false}); err != nil {
		return fmt.Errorf("set GRO on and checksum offload off: %w", err)
	}
	return readyForXDP(name)
}

// readyForXDP reads a device's settings, in the namespace of the caller.
func readyForXDP(name string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("open ethtool: %w", err)
	}
	defer e.Close()
	is, err := e.Features(name)
	if err != nil {
		return fmt.Errorf("read features: %w", err)
	}
	if !is[featureGRO] || is[featureSum] {
		return fmt.Errorf("XDP needs GRO on and checksum offload off, got %s=%v %s=%v: use mode tcx",
			featureGRO, is[featureGRO], featureSum, is[featureSum])
	}
	return nil
}
