// SPDX-License-Identifier: Apache-2.0

// Command foundry-delete is what the launcher becomes when containerd calls
// `delete` for a container whose server has not left an answer in the bundle:
// the server is dead, or containerd has given the container up. People do not
// call it. If there is a server, it is asked; else the container is ended and
// cleaned up after from files alone, and what `delete` has to say is printed.
//
// After a crash containerd starts one of these for every container at once, and
// gives them five seconds in all. So it is a program of its own, linked with
// what undoes a container and with nothing of the server's: no protobuf
// messages of the API, no HTTP, no gRPC. It outlives nothing and leaves nothing.
//
//	foundry-delete -root /run/foundry/ID -namespace default -id web-1 -bundle BUNDLE
//
// `foundryd delete` does the same, by executing it: launchers of older builds ask there.
package main
