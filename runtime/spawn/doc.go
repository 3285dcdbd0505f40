// SPDX-License-Identifier: Apache-2.0

// Package spawn is the spawner and its Go end: who makes processes, who is
// their parent, and who remembers how they ended.
//
// The spawner (directory c) is a small static C program, one for an instance.
// It decides nothing. `foundryd boot` becomes it ([Boot]); it starts
// `foundryd serve`, which finds the connection open ([Inherited]) and uses it
// as a [Client]. A plan of [foundry/runtime/plan] goes to the spawner as bytes
// ([Encode]); it checks every one, clones, and the clone, called the stage,
// makes a container, a hook or a logger of itself.
//
// What outlives what: processes outlive the server, which may close its
// [Process] or die. The spawner outlives the server too, until its last process
// has ended; the descriptors given to [Client.Hold] live as long. The slot
// file outlives both, so that [ReadExit] finds an exit with everybody dead. An
// exit stays in its slot until [Client.Ack]; a process whose exit nobody
// acknowledges takes one of a fixed number of slots, and with all of them taken
// Spawn fails with EAGAIN.
//
// A process is followed by [Process.Sync] from one sync point to the next and
// let on by [Process.Go]:
//
//	p, err := client.Spawn(ctx, spawn.Request{Key: 1, Plan: pl, Files: files})
//	point, err := p.Sync(ctx) // PointReady: it is created; a *StageError: step n failed
//	err = p.Go()              // start it
//	point, err = p.Sync(ctx)  // PointExec: its program runs
//
// A filter with a listener is one point more, [PointListener], between ready
// and exec: [Process.Listener] takes the listener, then Go.
//
// A container with a user namespace is made of steps, not by clone: first what
// needs the host's rights (joining other namespaces, mounts by host path, copies
// of bind sources), then [plan.OpMapUsers] or a joined namespace, then
// [plan.OpFork] into its pid namespace, then all the rest as the container's
// root. The spawner refuses a plan of another order. Spawn then returns when
// the forked process exists: a step that fails before is the error of Spawn.
//
// The exit comes to the function given to [NewClient], perhaps before Spawn
// has returned. The protocol is drawn in c/wire.h.
package spawn
