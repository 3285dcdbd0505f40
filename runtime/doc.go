// SPDX-License-Identifier: Apache-2.0

// Package runtime creates, starts, enters, signals, measures and deletes
// containers: it has a plan made, has the spawner execute it, and undoes it in
// reverse order when a step fails or the container is deleted. It knows nothing
// of containerd and nothing of networks; the shim calls it.
//
// One [Runtime] serves all containers of an instance and lives as long as the
// server. Containers are children of the spawner and outlive the server. What
// was begun for a container is in its journal (runtime/journal) before it is
// begun, so that [Reclaim] can undo it with server and spawner dead; see
// docs/decisions/0002-journal-and-undo.md.
//
// Exits come from the spawner through [Runtime.HandleExit] and are routed by
// key, never by pid, to the OnExit of their container or exec. Whoever gets an
// [Exit] calls [Exit.Ack] once it has stored it; until then the spawner keeps it.
//
// Hooks are helpers: prestart, createRuntime, poststart and poststop hooks run
// beside the server, createContainer hooks in the container's namespaces before
// its root is pivoted to, startContainer hooks with the rights and in the cgroup
// of the container's own process. The listener of a seccomp filter that asks goes
// to the profile's agent, or to the one agent in here that containers may ask for
// by annotation; see docs/decisions/0009-seccomp-agents.md.
//
//	rt, err := runtime.New(runtime.Config{Root: "/run/foundry/x", Slots: slots.Name()})
//	client, err := spawn.NewClient(conn, slots, rt.HandleExit)
//	rt.Connect(client)
//	c, err := rt.Create(ctx, runtime.CreateConfig{Namespace: "default", ID: "web-1", Bundle: bundle, OnExit: onExit})
//	err = c.Start(ctx)
//	// ... onExit
//	err = c.Delete(ctx)
package runtime
