// SPDX-License-Identifier: Apache-2.0

// Package agent serves the API of the data plane (package api has it) over a
// datapath.Control.
//
// The server makes one Agent and hands it a listener. The data plane is opened
// by Start, or by the first call that needs it: a server whose containers have
// no networks of ours loads no programs. Close ends calls and lets go of the
// data plane, which goes on forwarding: maps, programs and records outlive the
// process, and the next one takes them over.
//
//	a := agent.New(agent.Config{BPFFS: "/sys/fs/bpf/foundry/ID", Store: "/run/foundry/ID/net.db", Log: log})
//	go a.Serve(listener)
//	defer a.Close()
package agent
