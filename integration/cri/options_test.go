// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	tell(t, []string{"foundry-options"}, story{"Taken", optionsTaken, ""})
	tell(t, []string{"foundry-wrong"}, story{"Refused", optionsRefused, ""})
}

// optionsTaken: the table of the handler comes to the server as text, and a
// pod runs with what it says.
func optionsTaken(t *testing.T, n *node) {
	c := n.pod(t).sleeper(t, nil)
	c.expect(t, "echo runs; grep -c ' / / ' /proc/self/mountinfo", "runs\n1")
	for _, s := range n.Servers() {
		if strings.Contains(s.Log(), "SystemdCgroup") || strings.Contains(s.Log(), "NoPivotRoot") {
			t.Errorf("the server complains of options:\n%s", s.Log())
		}
	}
}

// optionsRefused: a wrong value is named to who asks for the pod.
func optionsRefused(t *testing.T, n *node) {
	p, err := n.tryPod(n.Context(t))
	if err == nil {
		_ = p.remove(n.Context(t))
	}
	if err == nil || !strings.Contains(err.Error(), "LogLoss") {
		t.Errorf("pod with a wrong option: got %v, want an error that names it", err)
	}
}
