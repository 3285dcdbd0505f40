// SPDX-License-Identifier: Apache-2.0

// Package api is the API of the data plane's agent as agent.proto has it, for
// those who speak it: the agent itself and its clients, which need nothing
// else of the data plane.
//
//	conn, err := grpc.NewClient("unix:///run/foundry/ID/agent.sock", grpc.WithTransportCredentials(insecure.NewCredentials()))
//	endpoints, err := api.NewAgentClient(conn).ListEndpoints(ctx, &api.ListEndpointsRequest{})
package api

//go:generate sh generate.sh
