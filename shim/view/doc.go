// SPDX-License-Identifier: Apache-2.0

// Package view is what a server shows of itself on its debug socket: the
// documents that cmd/foundry reads and prints, and the paths they are found
// at. It holds nothing but types, so that the command line is linked with
// nothing of the server.
//
// A field once released keeps its name and meaning; new ones may come. Times
// are RFC 3339, durations are nanoseconds, sizes are bytes.
//
//	var list []view.Container
//	err := get(instance+"/"+view.Socket, view.Containers+"?usage=1", &list)
package view
