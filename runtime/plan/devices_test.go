// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"os"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestDevicesReplaceDefaults(t *testing.T) {
	mode, uid := os.FileMode(0o100600), uint32(7)
	spec := testSpec()
	spec.Linux.Devices = []specs.LinuxDevice{
		{Path: "/dev/../dev/null", Type: "c", Major: 1, Minor: 3, FileMode: &mode, UID: &uid},
		{Path: "/dev/ptmx", Type: "c", Major: 5, Minor: 2},
		{Path: "/run/pipe", Type: "p", Major: 9, Minor: 9},
		{Path: "/dev/disk", Type: "b", Major: 259, Minor: 65536},
		{Path: "/dev/unbuffered", Type: "u", Major: 4095, Minor: 1048575},
	}
	check(t, "devices", lines(t, spec, testFacts(), OpMknod),
		"mknod /dev/random c 1:8 0666 0:0 or bind /dev/random",
		"mknod /dev/full c 1:7 0666 0:0 or bind /dev/full",
		"mknod /dev/tty c 5:0 0666 0:0 or bind /dev/tty",
		"mknod /dev/zero c 1:5 0666 0:0 or bind /dev/zero",
		"mknod /dev/urandom c 1:9 0666 0:0 or bind /dev/urandom",
		"mknod /dev/null c 1:3 0600 7:0 or bind /dev/null",
		"mknod /run/pipe p 0666 0:0",
		"mknod /dev/disk b 259:65536 0666 0:0 or bind /dev/disk",
		"mknod /dev/unbuffered c 4095:1048575 0666 0:0 or bind /dev/unbuffered",
	)
}

func TestDevicesOfABindMountStay(t *testing.T) {
	spec := testSpec()
	spec.Mounts = []specs.Mount{{Destination: "/dev/", Type: "bind", Source: "/dev", Options: []string{"rbind", "ro"}}}
	check(t, "devices", lines(t, spec, testFacts(), OpMknod, OpSymlink))
}

func TestMakedev(t *testing.T) {
	for _, row := range []struct {
		major, minor int64
		want         uint64
	}{{0, 0, 0}, {1, 3, 0x103}, {5, 2, 0x502}, {254, 0, 0xfe00}, {259, 65536, 0x10010300}, {4095, 1048575, 0xffffffff}} {
		got := makedev(row.major, row.minor)
		if got != row.want {
			t.Errorf("makedev(%d, %d): got %#x, want %#x", row.major, row.minor, got, row.want)
		}
		if major, minor := devNumbers(got); major != uint64(row.major) || minor != uint64(row.minor) {
			t.Errorf("%#x: got %d:%d", got, major, minor)
		}
	}
}
