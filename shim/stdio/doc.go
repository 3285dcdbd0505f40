// SPDX-License-Identifier: Apache-2.0

// Package stdio carries the standard streams of processes between what
// containerd's clients name (fifos, files, log programs) and what a process
// is given (anonymous pipes, the slave of a pty), until both sides have closed.
//
// The shim opens one [Pump] when it starts, and one [IO] for each process
// (init or exec) before it is created:
//
//	pump, err := stdio.NewPump(stdio.PumpConfig{})
//	...
//	io, err := pump.Open(ctx, stdio.Config{Stdout: request.Stdout, ...})
//	in, out, errw := io.Child()    // nil means /dev/null
//	...                            // spawn with these three
//	io.CloseChild()                // or nothing ever reads EOF
//	err = io.Start(master)         // master of the pty, nil without a terminal
//	...                            // the process exits; say so at once
//	err = io.Drain(ctx)            // its last words
//	err = io.Close()               // at Delete
//
// # How bytes move
//
//	process --pipe--> [splice] --> fifo --> client       stdout, stderr
//	process <--pipe-- [splice] <-- fifo <-- client       stdin
//	process --pty---> [read, write] --> fifo             terminal
//	process --pipe--> [read, write] --> O_APPEND file    file://
//	process --pipe----------------------> log program    binary://, until the first one dies
//
// One goroutine serves all streams of all processes. It waits on one epoll
// descriptor (edge-triggered, itself watched by Go's poller, so that no
// thread sleeps in it) and moves bytes by non-blocking calls, a bounded
// number for each stream and round. A stream that cannot go on is simply
// left alone until either end reports an edge: the kernel's pipes hold the
// bytes, the process blocks when they are full, and no stream waits for
// another. What can block belongs elsewhere: files are written by a goroutine
// that lives only while there is something to write, and when a single call
// of the pump hangs (a pipe is locked while its other user sleeps in a page
// fault) a second pump goroutine takes the rest over; see watchdog.go.
//
// # What outlives what
//
// A fifo is opened for reading and writing: with a reader of its own the pump
// never gets EPIPE, so a client may die, detach and come back; with a writer
// of its own, stdin has no end before [IO.CloseStdin]. The fifo of an output
// is closed for writing as soon as the last writer of the pipe has closed, so
// that the client sees its end, but not before a client has opened it, which
// may take longer than the process lives; bytes that nobody has read yet are
// kept until [IO.Close]. A log program that dies is started again on the same
// pipes.
//
// # When nobody reads
//
// A client that is slow is waited for: the pipes fill and the process blocks,
// as it would with the client's pipe itself. A client that was there and has
// gone (containerd was stopped) must not stop the process. The pump holds the
// fifo open for reading, so it cannot be told of that; when a stream makes no
// progress for some milliseconds it gives its read end up for a moment and
// asks the kernel whether there is another. If not, the stream gets a ring
// (ring.go, backlog.go), from one budget for all, and goes back to splicing
// when a client has come and read it empty. When the ring is full the oldest
// whole lines are dropped; see [Backlog] for when that may be. A client that
// has never come is waited for: it may want the first byte.
//
// Nothing else is dropped while an IO is open. What is still in the pipe of a
// process or in a ring when Close comes (nobody came, or a grandchild writes
// on) is lost too. All of it is counted, in [Stats].Lost and by [IO.Lost].
package stdio
