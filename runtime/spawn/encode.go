// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"

	"foundry/runtime/plan"

	"golang.org/x/sys/unix"
)

const (
	planHeaderSize = 24
	planStepSize   = 64
	planMaxBytes   = 16 << 20
)

// Encode returns p as the spawner reads it: header, steps, arena of strings.
func Encode(p *plan.Plan) ([]byte, error) {
	size := 1
	for i := range p.Steps {
		for _, s := range p.Steps[i].S {
			size += len(s) + 1
		}
	}
	b := make([]byte, 0, planHeaderSize+planStepSize*len(p.Steps)+size)
	b = binary.LittleEndian.AppendUint64(b, planMagic)
	b = binary.LittleEndian.AppendUint32(b, wireVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Steps)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Files)))
	// The first byte of the arena is the empty string of everyone.
	arena := make([]byte, 1, size)
	steps := make([]byte, 0, planStepSize*len(p.Steps))
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.FD < -1 || s.FD > math.MaxInt16 {
			return nil, fmt.Errorf("encode step %d (%s): descriptor %d out of range", i, s.Op, s.FD)
		}
		steps, arena = encodeStep(steps, arena, s)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(arena)))
	b = append(b, steps...)
	b = append(b, arena...)
	if len(b) > planMaxBytes {
		return nil, fmt.Errorf("encode plan: %d bytes are more than the %d that a spawner takes", len(b), planMaxBytes)
	}
	return b, nil
}

func encodeStep(steps, arena []byte, s *plan.Step) (newSteps, newArena []byte) {
	steps = binary.LittleEndian.AppendUint16(steps, uint16(s.Op))
	steps = binary.LittleEndian.AppendUint16(steps, s.Flags)
	steps = binary.LittleEndian.AppendUint16(steps, uint16(int16(s.FD)))
	steps = binary.LittleEndian.AppendUint16(steps, 0)
	steps = binary.LittleEndian.AppendUint64(steps, s.A)
	steps = binary.LittleEndian.AppendUint64(steps, s.B)
	steps = binary.LittleEndian.AppendUint64(steps, s.C)
	for _, text := range s.S {
		if text == "" {
			steps = binary.LittleEndian.AppendUint64(steps, 0)
			continue
		}
		steps = binary.LittleEndian.AppendUint32(steps, uint32(len(arena)))
		steps = binary.LittleEndian.AppendUint32(steps, uint32(len(text)))
		arena = append(append(arena, text...), 0)
	}
	return steps, arena
}

// seals are those that the spawner asks for: what it has checked stays so.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// sealed returns a memfd that holds b for ever.
func sealed(name string, b []byte, flags int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|flags)
	if errors.Is(err, unix.EINVAL) && flags != 0 { // kernels before 6.3 do not know MFD_EXEC and the like
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create "+name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("fill %s: %w", name, err), f.Close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, errors.Join(os.NewSyscallError("seal "+name, err), f.Close())
	}
	return f, nil
}
