// SPDX-License-Identifier: Apache-2.0

package datapath

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// question loads a program of tc that is made for one question.
func question(name string, insns asm.Instructions) (*ebpf.Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: insns, License: "GPL"})
	if err != nil {
		return nil, fmt.Errorf("load program %s: %w", name, err)
	}
	return p, nil
}

// redirecting sends every frame out of a device.
func redirecting(ifindex int) (*ebpf.Program, error) {
	return question("wire", asm.Instructions{
		asm.Mov.Imm(asm.R1, int32(ifindex)), asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), asm.Return(),
	})
}

func kernelTCX() (bool, error) {
	p, err := redirecting(1)
	if err != nil {
		return false, err
	}
	defer p.Close()
	return hasTCX(p), nil
}

// helpers asks for what the programs use where there is it, and can do
// without.
func (p *prober) helpers() {
	p.yes("redirect_peer", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectPeer))
	p.yes("redirect_neigh", features.HaveProgramHelper(ebpf.SchedCLS, asm.FnRedirectNeigh))
	const (
		fixedGSO     = 1 << 0
		encapIPv4    = 1 << 1
		encapUDP     = 1 << 4
		encapL2      = 14 << 56
		encapEth     = 1 << 6
		decapToIPv6  = 1 << 8
		headers4     = 50
		needsEncap   = "needs 5.13"
		needsDecapL3 = "needs 6.3: a frame whose protocol changes in a tunnel goes by way of its pair"
	)
	p.yes("adjust_room encap_l2_eth", adjusts(headers4, fixedGSO|encapIPv4|encapUDP|encapEth|encapL2, needsEncap))
	p.yes("adjust_room decap_l3", adjusts(-headers4, fixedGSO|decapToIPv6, needsDecapL3))
}

// adjusts says whether the kernel takes these flags, by having it adjust a
// frame of the test run.
func adjusts(by int32, flags int64, needs string) error {
	const mac = 1 // BPF_ADJ_ROOM_MAC
	p, err := question("adjust_room", asm.Instructions{
		asm.Mov.Imm(asm.R2, by), asm.Mov.Imm(asm.R3, mac), asm.LoadImm(asm.R4, flags, asm.DWord), asm.FnSkbAdjustRoom.Call(), asm.Return(),
	})
	if err != nil {
		return err
	}
	defer p.Close()
	in := make([]byte, 200)
	in[12], in[13], in[14] = 8, 0, 0x45
	ret, err := p.Run(&ebpf.RunOptions{Data: in, DataOut: make([]byte, 512)})
	if err != nil {
		return fmt.Errorf("test run: %w", err)
	}
	if errno := unix.Errno(-int32(ret)); errno != 0 {
		return fmt.Errorf("%w (%s)", errno, needs)
	}
	return nil
}
