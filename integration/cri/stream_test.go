// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"foundry/integration/env"
)

func TestStreams(t *testing.T) {
	tell(t, all, story{"Exec", execStream, ""},
		story{"ExecTerminal", execTerminal, ""},
		story{"Attach", attach, ""},
		story{"AttachTerminal", attachTerminal, ""})
}

// The streaming server's protocol: each message begins with its channel.
const (
	protocol      = "v4.channel.k8s.io"
	stdinChannel  = 0
	stdoutChannel = 1
	stderrChannel = 2
	errorChannel  = 3
	resizeChannel = 4
)

// stream is one exec or attach, as kubectl has it.
type stream struct {
	ws   *websocket.Conn
	done chan struct{} // closed at the end

	mu  sync.Mutex
	got [4]strings.Builder
}

// open connects to what the runtime service answered. It is closed at the end
// of the test, if not before.
func open(t *testing.T, url string, err error) *stream {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{ws: dial(t, url), done: make(chan struct{})}
	t.Cleanup(func() { s.ws.Close(); <-s.done })
	go s.receive()
	return s
}

// dial connects to a URL of the streaming server.
func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	config, err := websocket.NewConfig("ws"+strings.TrimPrefix(url, "http"), "http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	config.Protocol = []string{protocol}
	ws, err := websocket.DialConfig(config)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	return ws
}

// receive runs until the connection ends.
func (s *stream) receive() {
	defer close(s.done)
	for {
		var message []byte
		if websocket.Message.Receive(s.ws, &message) != nil {
			return
		}
		if len(message) > 1 && int(message[0]) < len(s.got) {
			s.mu.Lock()
			s.got[message[0]].Write(message[1:])
			s.mu.Unlock()
		}
	}
}

func (s *stream) text(channel int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[channel].String()
}

func (s *stream) send(t *testing.T, channel byte, text string) {
	t.Helper()
	if err := websocket.Message.Send(s.ws, append([]byte{channel}, text...)); err != nil {
		t.Fatalf("send to channel %d: %v", channel, err)
	}
}

// until waits for output.
func (s *stream) until(t *testing.T, channel int, text string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.Contains(s.text(channel), text) {
		if time.Now().After(deadline) {
			t.Fatalf("channel %d: got %q, want %q in it; status %q", channel, s.text(channel), text, s.text(errorChannel))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// code waits for the end, and returns the exit code.
func (s *stream) code(t *testing.T) string {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream does not end")
	}
	var status struct {
		Status  string
		Details struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal([]byte(s.text(errorChannel)), &status); err != nil {
		t.Fatalf("status %q: %v", s.text(errorChannel), err)
	}
	if status.Status == "Success" {
		return "0"
	}
	for _, c := range status.Details.Causes {
		if c.Reason == "ExitCode" {
			return c.Message
		}
	}
	return s.text(errorChannel)
}

func (c *container) stream(t *testing.T, tty bool, args ...string) *stream {
	t.Helper()
	r, err := c.runtime.Exec(c.Context(t), &runtimeapi.ExecRequest{ContainerId: c.id, Cmd: args, Tty: tty, Stdin: true, Stdout: true, Stderr: !tty})
	return open(t, r.GetUrl(), err)
}

func (c *container) attach(t *testing.T, tty bool) *stream {
	t.Helper()
	r, err := c.runtime.Attach(c.Context(t), &runtimeapi.AttachRequest{ContainerId: c.id, Tty: tty, Stdin: true, Stdout: true, Stderr: !tty})
	return open(t, r.GetUrl(), err)
}

func execStream(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, nil)
	s := c.stream(t, false, "/bin/sh", "-c", "read a; echo got $a; echo err >&2; exit 6")
	s.send(t, stdinChannel, "a line\n")
	if code := s.code(t); code != "6" || s.text(stdoutChannel) != "got a line\n" || s.text(stderrChannel) != "err\n" {
		t.Errorf("got code %s, stdout %q, stderr %q", code, s.text(stdoutChannel), s.text(stderrChannel))
	}
	many := c.stream(t, false, "/bin/seq", "100000")
	if code, got := many.code(t), len(many.text(stdoutChannel)); code != "0" || got != 588895 {
		t.Errorf("much output: got code %s, %d bytes; want 588895", code, got)
	}
}

func execTerminal(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, nil)
	s := c.stream(t, true, "/bin/sh")
	s.send(t, resizeChannel, `{"Width": 77, "Height": 33}`)
	s.send(t, stdinChannel, "while [ \"$(stty size)\" != '33 77' ]; do usleep 1000; done; echo size $(stty size)\n")
	s.until(t, stdoutChannel, "size 33 77")
	s.send(t, stdinChannel, "tty; exit 4\n")
	if code := s.code(t); code != "4" || !strings.Contains(s.text(stdoutChannel), "/dev/pts/") {
		t.Errorf("got code %s, output %q", code, s.text(stdoutChannel))
	}
}

// attach: two see the same, either writes; both are told of the end.
func attach(t *testing.T, n *node) {
	c := n.pod(t).run(t, func(c *runtimeapi.ContainerConfig) { c.Stdin = true },
		"/bin/sh", "-c", "while read a; do echo got $a; echo err $a >&2; [ $a = end ] && exit 5; done")
	a, b := c.attach(t, false), c.attach(t, false)
	// the connection is there before its streams are
	env.Eventually(t, "both are attached", func() bool {
		a.send(t, stdinChannel, "hello\n")
		return strings.Contains(a.text(stderrChannel), "hello") && strings.Contains(b.text(stderrChannel), "hello")
	})
	for i, s := range []*stream{a, b} {
		s.send(t, stdinChannel, fmt.Sprintf("line%d\n", i))
		a.until(t, stdoutChannel, fmt.Sprintf("got line%d\n", i))
		b.until(t, stderrChannel, fmt.Sprintf("err line%d\n", i))
	}
	a.send(t, stdinChannel, "end\n")
	a.code(t)
	b.code(t)
	if s := c.ended(t); s.ExitCode != 5 {
		t.Errorf("exit code: got %d, want 5", s.ExitCode)
	}
	env.Eventually(t, "all is in the log", func() bool { return strings.Contains(c.log(t), "stdout got end\n") })
}

func attachTerminal(t *testing.T, n *node) {
	c := n.pod(t).run(t, func(c *runtimeapi.ContainerConfig) { c.Stdin, c.Tty = true, true }, "/bin/sh")
	s := c.attach(t, true)
	s.send(t, resizeChannel, `{"Width": 66, "Height": 22}`)
	s.send(t, stdinChannel, "while [ \"$(stty size)\" != '22 66' ]; do usleep 1000; done; echo size $(stty size)\n")
	s.until(t, stdoutChannel, "size 22 66")
	s.send(t, stdinChannel, "exit 3\n")
	s.code(t)
	if s := c.ended(t); s.ExitCode != 3 {
		t.Errorf("exit code: got %d, want 3", s.ExitCode)
	}
}
