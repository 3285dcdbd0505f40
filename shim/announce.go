// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"time"

	"github.com/containerd/containerd/api/events"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// topics are containerd's names of the events.
var topics = [effectCount]string{
	PublishCreate:      "/tasks/create",
	PublishStart:       "/tasks/start",
	PublishExit:        "/tasks/exit",
	PublishOOM:         "/tasks/oom",
	PublishPaused:      "/tasks/paused",
	PublishResumed:     "/tasks/resumed",
	PublishDelete:      "/tasks/delete",
	PublishExecAdded:   "/tasks/exec-added",
	PublishExecStarted: "/tasks/exec-started",
}

// announcementLocked is the event that containerd gets for an effect.
func (c *container) announcementLocked(e Effect) (topic string, event proto.Message) {
	id, pid := c.key.ID, uint32(e.Proc.Pid)
	topic = topics[e.Kind]
	switch e.Kind {
	case PublishCreate:
		return topic, c.createdLocked(pid)
	case PublishStart:
		return topic, &events.TaskStart{ContainerID: id, Pid: pid}
	case PublishExit:
		return topic, &events.TaskExit{
			ContainerID: id, ID: c.processID(e.Exec), Pid: pid,
			ExitStatus: e.Proc.Exit.Status, ExitedAt: timestamp(e.Proc.Exit.At),
		}
	case PublishOOM:
		return topic, &events.TaskOOM{ContainerID: id}
	case PublishPaused:
		return topic, &events.TaskPaused{ContainerID: id}
	case PublishResumed:
		return topic, &events.TaskResumed{ContainerID: id}
	case PublishDelete:
		return topic, &events.TaskDelete{
			ContainerID: id, Pid: pid,
			ExitStatus: e.Proc.Exit.Status, ExitedAt: timestamp(e.Proc.Exit.At),
		}
	case PublishExecAdded:
		return topic, &events.TaskExecAdded{ContainerID: id, ExecID: e.Exec}
	default:
		return topic, &events.TaskExecStarted{ContainerID: id, ExecID: e.Exec, Pid: pid}
	}
}

func (c *container) createdLocked(pid uint32) *events.TaskCreate {
	urls := c.procs[""].urls
	return &events.TaskCreate{
		ContainerID: c.key.ID,
		Bundle:      c.bundle,
		Rootfs:      c.mounts,
		IO: &events.TaskIO{
			Stdin: urls.Stdin, Stdout: urls.Stdout, Stderr: urls.Stderr, Terminal: urls.Terminal,
		},
		Checkpoint: c.from,
		Pid:        pid,
	}
}

// processID is how exit events name a process: init by the container's id.
func (c *container) processID(exec string) string {
	if exec == "" {
		return c.key.ID
	}
	return exec
}

// timestamp is nil for no time, which is how the API says "has not exited".
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
