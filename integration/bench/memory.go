// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what some processes hold, in KiB. PSS shares a page among those
// who map it, so sums of it are honest.
type Memory struct {
	Processes int
	PSS, RSS  int
}

// MemoryOf sums up processes; one that has ended counts nothing.
func MemoryOf(pids []int) Memory {
	var m Memory
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		m.Processes++
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kib, _ := strconv.Atoi(f[1])
			switch f[0] {
			case "Pss:":
				m.PSS += kib
			case "Rss:":
				m.RSS += kib
			}
		}
	}
	return m
}
