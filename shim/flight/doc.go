// SPDX-License-Identifier: Apache-2.0

// Package flight keeps the last events of each container, also for a while
// after the container is gone, and explains from them how it ended. The shim
// notes; the debug socket reads.
//
// A record outlives its container, not the server, and all of them together
// have a bound: the oldest of those that are gone give way first. An id that
// is used again goes on with the record it had, so that two failed attempts
// stand below each other. Execs have a ring of their own, for health checks
// would soon have washed out how the container came to be.
//
//	r := flight.New(flight.Config{})
//	r.Note(flight.Key{Namespace: "default", ID: "web-1"}, view.Event{What: view.Start})
//	record, ok := r.Get(flight.Key{Namespace: "default", ID: "web-1"})
package flight
