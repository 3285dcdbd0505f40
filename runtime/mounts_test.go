// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"reflect"
	"strconv"
	"testing"
)

func TestPointsBelow(t *testing.T) {
	const mountinfo = `21 1 8:1 / / rw - ext4 /dev/root rw
22 21 0:5 / /b/rootfs rw - overlay overlay rw
23 22 0:6 / /b/rootfs/proc rw - proc proc rw
24 21 0:7 / /b/rootfs2 rw - tmpfs tmpfs rw
25 22 0:8 / /b/rootfs/with\040blank\134 rw - tmpfs tmpfs rw
26 22 0:9 / /b/rootfs rw - tmpfs tmpfs rw
short
`
	want := []string{"/b/rootfs", "/b/rootfs/proc", `/b/rootfs/with blank\`, "/b/rootfs"}
	if got := pointsBelow(mountinfo, "/b/rootfs"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := pointsBelow(mountinfo, "/nothing"); got != nil {
		t.Errorf("got %q, want none", got)
	}
}

func TestStartTimeNamesAProcess(t *testing.T) {
	self, err := startTime(os.Getpid())
	if err != nil || self == 0 {
		t.Fatalf("got %d, %v", self, err)
	}
	again, err := startTime(os.Getpid())
	if err != nil || again != self {
		t.Errorf("second: got %d, %v; want %d", again, err, self)
	}
	if _, err := startTime(1 << 30); !os.IsNotExist(err) {
		t.Errorf("nobody: got %v, want not exist", err)
	}
}

func fdName(f *os.File) string { return strconv.Itoa(int(f.Fd())) }
