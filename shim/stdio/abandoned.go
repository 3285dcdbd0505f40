// SPDX-License-Identifier: Apache-2.0

package stdio

// Abandoned reports whether the process has outputs to fifos that nobody has
// open for reading, all of them. A process without such outputs, or one that
// has closed them, is not abandoned: nobody can tell.
func (io *IO) Abandoned() bool {
	fifos, attended := 0, 0
	for _, s := range io.outputs {
		if !s.fifo {
			return false
		}
		io.pump.borrow(s, func() {
			fifos++
			if s.dst.attended() {
				attended++
			}
		})
	}
	return fifos > 0 && attended == 0
}
