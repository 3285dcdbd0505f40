// SPDX-License-Identifier: Apache-2.0

// Package shim speaks containerd's task API (v2 and v3) for every container
// of one containerd instance.
//
// A request becomes an event of one container; the pure state machine
// ([Step]) answers with the next state and with effects; the effects are done
// in that order: an event queued for containerd, a Wait answered, the rest of
// a container killed. What blocks (the runtime, hooks, the copy of output)
// runs in the goroutine of the request that asked for it, under no lock that
// another request needs: State, Connect, Wait and Pids answer from memory.
//
//	ttrpc -> method (deadline, panic, error code) -> Service.X (decode)
//	      -> container (step, runtime call, step) -> encode
//	spawner -> runtime -> container inbox -> step(Exit) -> publish, wake
//
// cmd/foundryd calls [New] once, registers the service and serves it. The
// containers outlive every request and every connection; the table of them
// lives as long as the process; the publisher's queues outlive a restart of
// containerd, but not the process.
//
//	svc, err := shim.New(shim.Config{Runtime: rt, Pump: pump, Publisher: pub, Log: log})
//	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
//	svc.Register(server)
//	err = server.Serve(ctx, listener)
//
// What happens is also noted for operators: in the container's flight record
// (shim/flight), in counters (shim/metric), and in spans when there is a
// collector (shim/trace). [Debug] shows it, on a socket of its own; nothing of
// it decides anything.
//
// Errors get their codes in errors.go and nowhere else.
package shim
