// SPDX-License-Identifier: Apache-2.0

// Command foundryd is the program behind the launcher containerd-shim-foundry-v1.
// People do not call it; what each word does:
//
//	boot     become the spawner of a new instance, which starts the server
//	serve    be the server: one for all containers of one containerd
//	agent    serve networks alone, to hosts whose containers are not ours (docs/network.md)
//	delete   execute foundry-delete, for launchers of older builds
//	info     print what the runtime can do, as a protobuf RuntimeInfo
//	version  print the version
//
// The server lives until it is asked to stop: by SIGTERM (it goes when its
// last container is deleted), by a newer launcher (control.sock, when nobody
// uses it), or by the death of the spawner (at once: nothing can be started
// or reaped any more). SIGUSR1 writes every goroutine's stack to the log.
package main
