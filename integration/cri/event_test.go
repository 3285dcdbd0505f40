// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestEvents(t *testing.T) {
	tell(t, all, story{"Order", eventOrder, ""}, story{"PortForward", portForward, ""})
}

// eventOrder: what a kubelet with evented PLEG hears of a container, in order.
func eventOrder(t *testing.T, n *node) {
	ctx, stop := context.WithCancel(n.Context(t))
	defer stop()
	events, listening := make(chan *runtimeapi.ContainerEventResponse, 100), make(chan struct{})
	go func() {
		_ = n.runtime.GetContainerEvents(ctx, events, func(runtimeapi.RuntimeService_GetContainerEventsClient) { close(listening) })
	}()
	<-listening
	p := n.pod(t)
	c := p.run(t, nil, "/bin/true")
	c.ended(t)
	if err := n.runtime.RemoveContainer(ctx, c.id); err != nil {
		t.Fatal(err)
	}
	var got []string
	for late := time.After(20 * time.Second); len(got) < 4; {
		select {
		case e := <-events:
			if e.ContainerId == c.id {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(e.ContainerEventType.String(), "CONTAINER_"), "_EVENT"))
			}
		case <-late:
			t.Fatalf("events: got only %q", got)
		}
	}
	if want := []string{"CREATED", "STARTED", "STOPPED", "DELETED"}; !slices.Equal(got, want) {
		t.Errorf("events: got %q, want %q", got, want)
	}
}

// portForward: containerd reaches a port of the pod by its loopback.
func portForward(t *testing.T, n *node) {
	p := n.pod(t)
	c := p.run(t, nil, "/bin/nc", "-ll", "-p", "8081", "-e", "/bin/hostname")
	c.expect(t, "while ! netstat -ltn | grep -q :8081; do usleep 5000; done; echo listens", "listens")
	r, err := n.runtime.PortForward(n.Context(t), &runtimeapi.PortForwardRequest{PodSandboxId: p.id, Port: []int32{8081}})
	if err != nil {
		t.Fatal(err)
	}
	ws := dial(t, r.Url+"?port=8081")
	defer ws.Close()
	_ = ws.SetDeadline(time.Now().Add(20 * time.Second))
	var text strings.Builder
	for !strings.Contains(text.String(), "\n") {
		var message []byte
		if err := websocket.Message.Receive(ws, &message); err != nil {
			t.Fatalf("receive after %q: %v", text.String(), err)
		}
		// channel 0 is the data, 1 errors; each begins with the port
		if port := make([]byte, 2); len(message) == 3 {
			binary.LittleEndian.PutUint16(port, 8081)
			if string(message[1:]) != string(port) {
				t.Errorf("first message of channel %d: got %v", message[0], message[1:])
			}
			continue
		}
		text.Write(message[1:])
	}
	if got, want := text.String(), p.config.Hostname+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
