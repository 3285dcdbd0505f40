// SPDX-License-Identifier: Apache-2.0

package spawn

import (
	"testing"

	"foundry/runtime/plan"
)

const (
	attrReadonly = 0x01
	attrNosuid   = 0x02
	attrNoexec   = 0x08
)

// TestRemount: attributes of the mount, options of its superblock, and both.
func TestRemount(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		name   string
		step   plan.Step
		script string
		want   string
	}{
		{"attributes", plan.Step{A: attrReadonly | attrNoexec, B: attrNosuid},
			"grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6; touch /m/x 2>&1", "ro,noexec,relatime\ntouch: /m/x: Read-only file system"},
		{"recursively", plan.Step{Flags: plan.FlagAttrRec, A: attrReadonly},
			"grep ' /m/sub ' /proc/self/mountinfo | cut -d' ' -f6", "ro,relatime"},
		{"not recursively", plan.Step{A: attrReadonly},
			"grep ' /m/sub ' /proc/self/mountinfo | cut -d' ' -f6", "rw,relatime"},
		{"size of a tmpfs", plan.Step{S: [4]string{3: "size=8k"}},
			"busybox dd if=/dev/zero of=/m/x bs=4k count=3 2>&1 | head -1", "dd: error writing '/m/x': No space left on device"},
		{"superblock", plan.Step{S: [4]string{3: "ro"}},
			"grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6,10 | cut -d, -f1,2,3", "rw,nosuid,relatime ro"},
		{"propagation", plan.Step{C: 1 << 20}, // MS_SHARED
			"grep ' /m ' /proc/self/mountinfo | grep -c shared:", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ct := newContainer(t, "sh", "-c", c.script)
			link(t, "busybox", ct.facts.Rootfs+"/bin/head")
			link(t, "busybox", ct.facts.Rootfs+"/bin/touch")
			ct.mount("tmpfs", "tmpfs", "/m", "nosuid")
			ct.mount("tmpfs", "tmpfs", "/m/sub")
			p := ct.plan(t)
			c.step.Op, c.step.FD, c.step.S[2] = plan.OpRemount, -1, "/m"
			insert(p, plan.OpPivot, c.step)
			if got, _ := w.output(p, nil); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestRemountErrors(t *testing.T) {
	w := newWorld(t, 16)
	for _, c := range []struct {
		step plan.Step
		want string
	}{
		{plan.Step{A: attrReadonly, S: [4]string{2: "/tmp"}}, "remount /tmp: not a mount point: invalid argument"},
		{plan.Step{A: attrReadonly, S: [4]string{2: "/absent"}}, "remount /absent: no such file or directory"},
		{plan.Step{S: [4]string{2: "/m", 3: "size=huge"}}, "remount /m: option size=huge (tmpfs: Bad value for 'size'): invalid argument"},
	} {
		ct := newContainer(t, "true")
		ct.mount("tmpfs", "tmpfs", "/m")
		p := ct.plan(t)
		c.step.Op, c.step.FD = plan.OpRemount, -1
		insert(p, plan.OpPivot, c.step)
		proc := w.spawn(p)
		if _, err := proc.Sync(w.context()); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		w.exit(proc)
	}
}
