// SPDX-License-Identifier: Apache-2.0

package spawn

// The Go side of c/wire.h, where the protocol is drawn. A test compares names,
// offsets and sizes.

const (
	wireVersion = 1
	maxFDs      = 120
	slotSize    = 4096
	slotMagic   = 0x544f4c5346444e46
	planMagic   = 0x4c50594652444e46
)

// Message types.
const (
	msgHello = iota + 1
	msgSpawn
	msgSpawned
	msgExited
	msgAck
	msgHold
	msgDrop
	msgFetch
	msgHeld
	msgList
	msgDone
	msgUpgrade
	msgStop
	msgAdopt
)

// Flags of msgSpawn and msgSpawned.
const (
	spawnCgroup = 1 << iota
	spawnHelper
	spawnForks
	spawnStage
)

// States of a slot.
const (
	slotFree = iota
	slotReserved
	slotRunning
	slotExited
)

type msg struct {
	Type       uint32
	Seq        uint32
	Key        uint64
	CloneFlags uint64
	Pid        int32
	Slot       uint32
	Err        int32
	Status     int32
	Flags      uint32
	Nfds       uint32
	Arg        [8]uint64
	Text       [256]byte
}

type planHeader struct {
	Magic   uint64
	Version uint32
	Nsteps  uint32
	Nfiles  uint32
	Arena   uint32
}

type planStr struct {
	Off, Len uint32
}

type planStep struct {
	Op, Flags uint16
	Fd, Pad   int16
	A, B, C   uint64
	S         [4]planStr
}

type slotHeader struct {
	Magic   uint64
	Version uint32
	Slots   uint32
	High    uint32
	Spawner int32
	Orphans uint64
}

type slot struct {
	State     uint32
	Go        uint32
	Key       uint64
	Pid       int32
	Child     int32
	Status    int32
	Sig       int32
	StartedNs uint64
	ExitedNs  uint64
	Err       int32
	Step      uint32
	Tty       int32
	Phase     uint32
	Flags     uint32
	What      [256]byte
	Listener  int32
}

// text is what of b comes before the first NUL.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
